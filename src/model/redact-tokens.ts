/**
 * Tokens that say by their beginning what they are: our own of people and robots, those of GitHub, GitLab, Bitbucket and
 * Docker Hub. What stands before the secret stays, because it says which kind leaked.
 */
const tokens =
  /(slp_|slr_|gh[oprsu]_|github_pat_|gl[a-z]{2,10}-|ATBB|ATCTT3|ATATT3|dckr_[a-z]{2,4}_)[A-Za-z0-9_=.-]{6,}/g;

/** Hides the tokens in a text of any kind. */
export function redactTokensIn(text: string): string {
  return text.replace(tokens, '$1REDACTED');
}
