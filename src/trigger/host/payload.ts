import { cutText } from '../../base/cut-text.ts';
import { redactUrl } from '../../model/redact-url.ts';
import { HostError } from '../host-error.ts';
import { TriggerError } from '../trigger-error.ts';

/** A shape that a text must have, and the words for it after "must be". */
export interface TextShape {
  readonly words: string;
  readonly fits: (text: string) => boolean;
}

const most = {
  /** A commit message longer than this is cut. */
  message: 65_536,
  text: 2048,
  list: 10_000,
};

/** Makes an error of what is wrong. */
type Blame = (message: string) => Error;

/**
 * A value in a delivery or in a host's answer, with the path that leads to it, so that a fault can name it. Only own keys
 * are looked at: a payload has no prototype to speak of. Nothing of a value that does not fit is said but its kind: it
 * may be anything.
 */
export class Payload {
  readonly #value: unknown;
  readonly #path: string;
  readonly #blame: Blame;

  private constructor(value: unknown, path: string, blame: Blame) {
    this.#value = value;
    this.#path = path;
    this.#blame = blame;
  }

  /** What a host answered; throws HostError `unexpected`. */
  static ofAnswer(value: unknown, host: string): Payload {
    return new Payload(
      value,
      'answer',
      (message) =>
        new HostError('unexpected', `${host} gave an answer that cannot be understood: ${message}`),
    );
  }

  /** Throws `malformed` when it is no JSON object. */
  static parse(body: Uint8Array): Payload {
    let value: unknown;
    try {
      value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(body));
    } catch (thrown) {
      const why = thrown instanceof SyntaxError ? 'not JSON' : 'not UTF-8 text';
      throw new TriggerError(
        'malformed',
        `The body is ${why}; it must be a JSON object (application/json).`,
        thrown,
      );
    }
    if (kindOf(value) !== 'an object')
      throw new TriggerError('malformed', `The body must be a JSON object, but is ${kindOf(value)}.`);
    return new Payload(
      value,
      '',
      (message) => new TriggerError('malformed', `${message} Send the payload as the host made it.`),
    );
  }

  /** Whether there is anything but null. */
  get present(): boolean {
    return this.#value !== undefined && this.#value !== null;
  }

  /** Whether it is said that there is none, which is more than that nothing is said. */
  get isNull(): boolean {
    return this.#value === null;
  }

  kindIs(kind: 'string' | 'list'): boolean {
    return kind === 'list' ? Array.isArray(this.#value) : typeof this.#value === kind;
  }

  /** What may be missing altogether: the value below a value that is no object is missing too. */
  at(...keys: readonly string[]): Payload {
    let value = this.#value;
    let path = this.#path;
    for (const key of keys) {
      path = path === '' ? key : `${path}.${key}`;
      value =
        typeof value === 'object' && value !== null && !Array.isArray(value) && Object.hasOwn(value, key)
          ? (value as Readonly<Record<string, unknown>>)[key]
          : undefined;
    }
    return new Payload(value, path, this.#blame);
  }

  /** The value is an object. */
  object(): Payload {
    if (kindOf(this.#value) !== 'an object') this.fail('an object');
    return this;
  }

  text(longest = most.text): string {
    if (typeof this.#value !== 'string') this.fail('text');
    return storable(this.#value, longest);
  }

  optionalText(longest = most.text): string | undefined {
    return this.present ? this.text(longest) : undefined;
  }

  /** Text of a shape; it is never cut. */
  shaped(shape: TextShape): string {
    return this.ifShaped(shape) ?? this.fail(shape.words);
  }

  /** The same for what need not be right. */
  ifShaped(shape: TextShape): string | undefined {
    const value = this.#value;
    return typeof value === 'string' && value.length <= most.text && shape.fits(value) ? value : undefined;
  }

  message(): string {
    return this.text(most.message);
  }

  /** A link for people: only http(s) ones are kept. */
  link(): string | undefined {
    if (typeof this.#value !== 'string' || this.#value.length > most.text) return undefined;
    return linkOf(this.#value);
  }

  whole(): number {
    return this.ifWhole() ?? this.fail('a whole number');
  }

  /** The same for what need not be right. */
  ifWhole(): number | undefined {
    const value = this.#value;
    return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 ? value : undefined;
  }

  optionalWhole(): number | undefined {
    return this.present ? this.whole() : undefined;
  }

  flag(): boolean {
    if (!this.present) return false;
    if (typeof this.#value !== 'boolean') this.fail('true or false');
    return this.#value;
  }

  /** Nothing gives an empty list. */
  list(longest = most.list): readonly Payload[] {
    return this.listUpTo(longest) ?? this.fail(`a list of at most ${longest} items`);
  }

  /** The same; undefined: it is longer. */
  listUpTo(longest: number): readonly Payload[] | undefined {
    if (!this.present) return [];
    if (!Array.isArray(this.#value)) this.fail('a list');
    if (this.#value.length > longest) return undefined;
    return this.#value.map((item, index) => new Payload(item, `${this.#path}[${index}]`, this.#blame));
  }

  fail(words: string): never {
    throw this.#blame(`"${this.#path}" must be ${words}, but is ${kindOf(this.#value)}.`);
  }
}

export function linkOf(text: string): string | undefined {
  if (!/^https?:\/\/[^\s"'<>]+$/i.test(text) || !URL.canParse(text)) return undefined;
  const { username, password } = new URL(text);
  return username === '' && password === '' ? text : redactUrl(text);
}

/** What the database takes, and no longer than `longest`. */
export function storable(text: string, longest = most.text): string {
  return cutText(text, longest);
}

function kindOf(value: unknown): string {
  if (value === undefined) return 'missing';
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'a list';
  switch (typeof value) {
    case 'string':
      return 'other text';
    case 'number':
      return 'a number';
    case 'boolean':
      return 'true or false';
    default:
      return 'an object';
  }
}
