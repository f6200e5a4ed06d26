/**
 * Base of the one error class each layer has. `code` is a closed, documented union, so that callers decide by
 * code and never by message. `message` is for a person: what happened, why, what to do next.
 */
export abstract class CodedError<Code extends string> extends Error {
  readonly code: Code;

  constructor(code: Code, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
    this.name = new.target.name;
  }
}

/** The text of anything that was thrown, for a log or as part of a message. */
export function messageOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown);
}
