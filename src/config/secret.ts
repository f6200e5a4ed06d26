import { inspect } from 'node:util';

const hidden = '[secret]';

/** A value that neither a log, an error, JSON nor an inspection shows; only `reveal` gives it away. */
export class Secret<Value = string> {
  readonly #value: Value;

  constructor(value: Value) {
    this.#value = value;
  }

  reveal(): Value {
    return this.#value;
  }

  toString(): string {
    return hidden;
  }

  toJSON(): string {
    return hidden;
  }

  [inspect.custom](): string {
    return hidden;
  }
}
