/** The first 7 digits of a commit: how builds are called, and a tag when there is no other. */
export function shortSha(commit: string): string {
  return commit.slice(0, 7);
}
