import { type FaultCode, parseFaultCode } from '../../model/fault.ts';
import { EngineError, type EngineErrorCode } from './engine-error.ts';

/**
 * What the dummy engine does, written as comment lines of a Dockerfile and done in their order; with `push` before
 * the verb, while pushing.
 *
 *     #dummy sleep 500               wait for milliseconds
 *     #dummy print some text         one line of log
 *     #dummy lines 1000 100          1000 lines of 100 bytes each, line end included, numbered
 *     #dummy garbage 65536           bytes that are no UTF-8, NULs among them, with no line end
 *     #dummy fail builderror words   fail with a code and a message
 *     #dummy exit 3                  as a RUN step with that exit status; 0 does nothing
 *     #dummy hang                    until cancelled
 *     #dummy push fail pushissue words
 */
export type DummyStep =
  | { readonly kind: 'sleep'; readonly milliseconds: number }
  | { readonly kind: 'output'; readonly bytes: () => Iterable<Buffer> }
  | { readonly kind: 'fail'; readonly code: EngineErrorCode; readonly message: string }
  | { readonly kind: 'hang' };

export function dummySteps(comments: readonly string[]): {
  readonly building: readonly DummyStep[];
  readonly pushing: readonly DummyStep[];
} {
  const building: DummyStep[] = [];
  const pushing: DummyStep[] = [];
  for (const comment of comments) {
    const match = /^#dummy\s+(push\s+)?(\S+)\s*(.*)$/.exec(comment);
    if (match === null) continue;
    const [, push, verb = '', rest = ''] = match;
    (push === undefined ? building : pushing).push(...stepOf(verb, rest, comment));
  }
  return { building, pushing };
}

function stepOf(verb: string, rest: string, comment: string): DummyStep[] {
  const number = (text: string | undefined) => {
    if (text === undefined || !/^\d{1,10}$/.test(text)) throw misread(comment);
    return Number(text);
  };
  const words = rest.split(/\s+/);
  switch (verb) {
    case 'sleep':
      return [{ kind: 'sleep', milliseconds: number(words[0]) }];
    case 'print':
      return [{ kind: 'output', bytes: () => [Buffer.from(`${rest}\n`)] }];
    case 'lines': {
      const [count, width] = [number(words[0]), number(words[1])];
      return [{ kind: 'output', bytes: () => numberedLines(count, width) }];
    }
    case 'garbage': {
      const length = number(words[0]);
      return [{ kind: 'output', bytes: () => garbage(length) }];
    }
    case 'exit': {
      const status = number(words[0]);
      if (status === 0) return [];
      return [
        {
          kind: 'fail',
          code: 'builderror',
          message: `The step "${comment}" failed with exit status ${status}.`,
        },
      ];
    }
    case 'fail': {
      const code = engineCode(parseFaultCode(words[0] ?? ''));
      if (code === undefined) throw misread(comment);
      return [
        { kind: 'fail', code, message: words.slice(1).join(' ') || `The dummy engine failed with ${code}.` },
      ];
    }
    case 'hang':
      return [{ kind: 'hang' }];
    default:
      throw misread(comment);
  }
}

const chunkBytes = 64 * 1024;

function* numberedLines(count: number, width: number): Generator<Buffer> {
  const perChunk = Math.max(1, Math.floor(chunkBytes / Math.max(1, width)));
  for (let at = 0; at < count; at += perChunk) {
    const lines = Array.from({ length: Math.min(perChunk, count - at) }, (_, place) =>
      `line ${at + place} `.padEnd(Math.max(0, width - 1), '.').slice(0, Math.max(0, width - 1)),
    );
    yield Buffer.from(`${lines.join('\n')}\n`);
  }
}

function* garbage(length: number): Generator<Buffer> {
  for (let at = 0; at < length; at += chunkBytes) {
    const bytes = Buffer.alloc(Math.min(chunkBytes, length - at));
    // Every value but the line end, in an order that is never UTF-8 for long.
    for (let place = 0; place < bytes.length; place += 1) {
      const value = ((at + place) * 151) % 256;
      bytes[place] = value === 0x0a ? 0xff : value;
    }
    yield bytes;
  }
}

function engineCode(code: FaultCode | undefined): EngineErrorCode | undefined {
  switch (code) {
    case 'dockerfileissue':
    case 'cannotpullbaseimage':
    case 'baseimageregistry':
    case 'builderror':
    case 'outofmemory':
    case 'pushissue':
    case 'diskfull':
    case 'enginemissing':
    case 'enginefailed':
      return code;
    default:
      return undefined;
  }
}

function misread(comment: string): EngineError {
  return new EngineError('dockerfileissue', `The dummy engine cannot read "${comment.slice(0, 200)}".`);
}
