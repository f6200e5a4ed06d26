import { ROOT_CONTEXT, trace } from '@opentelemetry/api';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { contextOf, formatTraceParent, parseTraceParent } from './trace-context.ts';

const example = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';

describe('a traceparent', () => {
  it('is read and written the same', () => {
    const context = parseTraceParent(example);
    expect(context).toEqual({
      traceId: '0af7651916cd43dd8448eb211c80319c',
      spanId: 'b7ad6b7169203331',
      traceFlags: 1,
      isRemote: true,
    });
    // Nothing records here, so a span that follows is the one it follows.
    const span = trace.getTracer('test').startSpan('next', {}, contextOf(example));
    expect(span.isRecording()).toBe(false);
    expect(formatTraceParent(span)).toBe(example);
  });

  it.each([
    ['nothing', undefined],
    ['an empty text', ''],
    ['zeros for the trace', '00-00000000000000000000000000000000-b7ad6b7169203331-01'],
    ['zeros for the span', '00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01'],
    ['capitals', example.toUpperCase()],
    ['the version that is none', `ff${example.slice(2)}`],
    ['more than the first version has', `${example}-00`],
    ['a flag that is no number', `${example.slice(0, -2)}0x`],
    ['lines', `${example}\n${example}`],
  ])('is none: %s', (_what, text) => {
    expect(parseTraceParent(text)).toBeUndefined();
    expect(contextOf(text)).toBe(ROOT_CONTEXT);
  });

  it('of a later version is read as far as it is known, and of its flags the first', () => {
    expect(parseTraceParent(`cc${example.slice(2, -2)}ff-what-comes-later`)).toMatchObject({ traceFlags: 1 });
  });

  it('never makes anything throw', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.stringMatching(/^[0-9a-f-]{50,60}$/)), (text) => {
        contextOf(text);
      }),
    );
  });
});
