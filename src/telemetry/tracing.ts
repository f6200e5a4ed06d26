import {
  type Attributes,
  type Context,
  ProxyTracerProvider,
  type Span,
  type SpanKind,
  SpanStatusCode,
  trace,
} from '@opentelemetry/api';
import { CodedError } from '../base/coded-error.ts';

const name = 'slipway';

/** Whether anything takes spans. When nothing does, whatever is needed only for them is not worth reading. */
export function isTracing(): boolean {
  const provider = trace.getTracerProvider();
  return !(provider instanceof ProxyTracerProvider) || provider.getDelegateTracer(name) !== undefined;
}

export interface SpanStart {
  readonly parent: Context;
  readonly kind: SpanKind;
  readonly attributes: Attributes;
  /** Milliseconds since 1970; now unless given. */
  readonly at?: number;
}

/** Begins a span; whoever begins it ends it. */
export function startSpan(span: string, { parent, kind, attributes, at }: SpanStart): Span {
  return trace.getTracer(name).startSpan(
    span,
    // A number would be taken for one since the start of the process when it is small.
    { kind, attributes, ...(at === undefined ? {} : { startTime: new Date(at) }) },
    parent,
  );
}

/** Does the work inside a span, which tells whether it failed. Messages of errors stay out: they may quote anything. */
export async function inSpan<T>(
  span: string,
  start: SpanStart,
  work: (span: Span) => Promise<T>,
): Promise<T> {
  const begun = startSpan(span, start);
  try {
    return await work(begun);
  } catch (thrown) {
    markFailed(begun, thrown instanceof CodedError ? String(thrown.code) : nameOf(thrown));
    throw thrown;
  } finally {
    begun.end();
  }
}

/** `type`: the kind of error, from a closed set. */
export function markFailed(span: Span, type: string): void {
  span.setAttribute('error.type', type);
  span.setStatus({ code: SpanStatusCode.ERROR });
}

function nameOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.name : '_OTHER';
}
