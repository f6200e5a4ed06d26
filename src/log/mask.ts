import { SecretAutomaton } from './secret-automaton.ts';
import { secretForms } from './secret-forms.ts';

const mask = Buffer.from('***');
/** A shorter piece of a secret is let out by `settle`: it is too little to be of use, and too common to mask. */
const leastSettled = 4;
/** Characters of a signature, which is what stands behind a token's second dot. That of RS256 is as long as its key. */
const signatureLengths: readonly (readonly [header: string, length: number])[] = [['{"alg":"ES256"', 86]];

/** What is kept out of a log. */
export interface Maskable {
  /** Whole secrets. */
  readonly secrets: readonly Uint8Array[];
  /** How secrets begin that are not known whole, such as tokens by their header: what follows belongs to them as long as it may. */
  readonly openings?: readonly Uint8Array[];
}

const dot = 46;
/** What a token, a signed query, or base64 of either is made of. */
const goesOn = new Uint8Array(256);
for (const byte of Buffer.from('ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.+/=%?&'))
  goesOn[byte] = 1;

/**
 * Masks secrets in a stream of bytes, however it is cut into writes: every byte that belongs to an occurrence of a
 * secret, or of an encoded form of one, is left out, and each run of such bytes becomes `***`. What comes out does not
 * depend on the cuts. Held back are only bytes that may be the beginning of a secret: at most one less than the longest
 * form is long. Time is linear in the input.
 *
 * Buffers that come out may be parts of the ones that went in.
 */
export class Masker {
  readonly #automaton: SecretAutomaton | undefined;
  #state = 0;
  /** The last bytes read, not given out yet: those that may begin a secret. */
  #held: Buffer = empty;
  /** The parts of `#held` that belong to an occurrence, in order. */
  #spans: Span[] = [];
  /** The last byte given out was masked, so further masked bytes belong to the same run. */
  #inMask = false;
  /** The last byte read belongs to a secret that an opening began. */
  #opened = false;
  /** Of that secret: how long its signature is, if it is a token; the dots since it began, the bytes since the last of them. */
  #signature: number | undefined;
  #dots = 0;
  #sinceDot = 0;
  /** Of each form of an opening: how long the signature is of what it begins. */
  readonly #signatures: readonly (number | undefined)[] = [];

  constructor({ secrets, openings = [] }: Maskable) {
    const forms = secrets.flatMap(secretForms);
    const begins = openings.flatMap((opening) => {
      const signature = signatureOf(opening);
      // Encoded, a token has no dots that can be seen.
      return secretForms(opening).map((form) => ({
        form,
        signature: form.equals(opening) ? signature : undefined,
      }));
    });
    this.#signatures = begins.map(({ signature }) => signature);
    if (forms.length + begins.length > 0)
      this.#automaton = new SecretAutomaton(
        forms,
        begins.map(({ form }) => form),
      );
  }

  write(bytes: Buffer): Buffer {
    const automaton = this.#automaton;
    if (automaton === undefined || bytes.length === 0) return bytes;
    if (this.#state === 0 && !this.#opened && automaton.leavesRoot(bytes, 0) === bytes.length) {
      this.#inMask = false;
      return bytes;
    }
    return this.#scan(automaton, bytes);
  }

  /** The end of the input: what was held back is no secret. */
  flush(): Buffer {
    const out = this.#give(this.#held, this.#held.length);
    this.#held = empty;
    this.#state = 0;
    this.#inMask = false;
    this.#opened = false;
    return out;
  }

  /**
   * Gives out what is held back although more may come: for a consumer that must have all of a message before the next
   * one. Four bytes or more of what may become a secret are masked; the rest of it is masked when it comes.
   */
  settle(): Buffer {
    // What an earlier call let out counts too, or a secret would leak byte by byte.
    const open = this.#automaton?.open(this.#state) ?? 0;
    if (open >= leastSettled) this.#spans = [{ start: 0, end: this.#held.length }];
    const out = this.#give(this.#held, this.#held.length);
    // The state stays: it stands for bytes that are out already.
    this.#held = empty;
    return out;
  }

  #scan(automaton: SecretAutomaton, bytes: Buffer): Buffer {
    // After `settle` the state stands for more bytes than are held; those are out already.
    const input = this.#held.length === 0 ? bytes : Buffer.concat([this.#held, bytes]);
    const spans = this.#spans;
    let state = this.#state;
    let opened = this.#opened;
    let at = this.#held.length;
    while (at < input.length) {
      if (opened) {
        const byte = input[at] as number;
        opened = goesOn[byte] === 1;
        if (opened) cover(spans, at, at + 1);
        if (byte === dot) {
          this.#dots++;
          this.#sinceDot = 0;
        } else this.#sinceDot++;
        // What follows a whole token is no part of it, although it may be made of the same characters.
        if (this.#dots === 2 && this.#sinceDot === this.#signature) opened = false;
      } else if (state === 0) {
        at = automaton.leavesRoot(input, at);
        if (at === input.length) break;
      }
      state = automaton.next(state, input[at] as number);
      at++;
      const matched = automaton.match(state);
      if (matched > 0) cover(spans, Math.max(0, at - matched), at);
      const opening = opened ? undefined : automaton.opens(state);
      if (opening !== undefined) {
        opened = true;
        this.#signature = this.#signatures[opening];
        this.#dots = 0;
        this.#sinceDot = 0;
      }
    }
    this.#state = state;
    this.#opened = opened;
    const decided = Math.max(0, input.length - automaton.open(state));
    const out = this.#give(input, decided);
    const held = input.subarray(decided);
    // A copy: what is held is small, and must not keep the whole input alive.
    this.#held = held.length === 0 ? empty : Buffer.from(held);
    return out;
  }

  /** What comes out for the bytes before `end`; the spans are then counted from there. */
  #give(input: Buffer, end: number): Buffer {
    const out = new Pieces(this.#inMask);
    const rest: Span[] = [];
    let given = 0;
    for (const span of this.#spans) {
      if (span.start < end) {
        out.plain(input.subarray(given, span.start));
        given = Math.min(span.end, end);
        out.masked(given - span.start);
      }
      if (span.end > end) rest.push({ start: Math.max(0, span.start - end), end: span.end - end });
    }
    out.plain(input.subarray(given, end));
    this.#spans = rest;
    this.#inMask = out.inMask;
    return out.join();
  }
}

function signatureOf(opening: Uint8Array): number | undefined {
  const header = Buffer.from(Buffer.from(opening).toString('latin1'), 'base64url').toString('latin1');
  return signatureLengths.find(([begin]) => header.startsWith(begin))?.[1];
}

/** Bytes that belong to occurrences, `end` exclusive. */
interface Span {
  readonly start: number;
  readonly end: number;
}

/** Adds a span that ends behind all the others, and joins those it touches. */
function cover(spans: Span[], start: number, end: number): void {
  let from = start;
  for (let last = spans.at(-1); last !== undefined && last.end >= from; last = spans.at(-1)) {
    from = Math.min(from, last.start);
    spans.pop();
  }
  spans.push({ start: from, end });
}

const empty = Buffer.alloc(0);

/** Collects output; consecutive masked bytes make one mask. */
class Pieces {
  readonly #pieces: Buffer[] = [];
  inMask: boolean;

  constructor(inMask: boolean) {
    this.inMask = inMask;
  }

  masked(count: number): void {
    if (count <= 0) return;
    if (!this.inMask) this.#pieces.push(mask);
    this.inMask = true;
  }

  plain(bytes: Buffer): void {
    if (bytes.length === 0) return;
    this.#pieces.push(bytes);
    this.inMask = false;
  }

  join(): Buffer {
    const [only] = this.#pieces;
    return only !== undefined && this.#pieces.length === 1 ? only : Buffer.concat(this.#pieces);
  }
}
