/** Any JWT, as all tokens of workers are. */
const token = /eyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+/g;

/** The text without tokens, whoever wrote it: a worker's own output, or a cloud that repeats what it was sent. */
export function withoutTokens(text: string): string {
  return text.replace(token, '[token]');
}
