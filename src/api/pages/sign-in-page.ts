import { html } from './html.ts';
import { page, problem } from './layout.ts';

export interface SignInPage {
  readonly services: readonly { readonly id: string; readonly name: string }[];
  /** Whether passwords are taken. */
  readonly password: boolean;
  readonly csrf: string;
  /** Where the browser goes then; a path. */
  readonly next: string;
  readonly message?: string;
  readonly username?: string;
}

export function signInPage({ services, password, csrf, next, message, username }: SignInPage): string {
  const form = html`<form method="post" action="/signin">
        <input type="hidden" name="csrf_token" value="${csrf}">
        <input type="hidden" name="next" value="${next}">
        <label for="username">User name</label>
        <input id="username" name="username" autocomplete="username" autocapitalize="none" spellcheck="false" required maxlength="255" value="${username ?? ''}" autofocus>
        <label for="password">Password</label>
        <input id="password" name="password" type="password" autocomplete="current-password" required maxlength="1024">
        <button type="submit">Sign in</button>
      </form>`;
  const buttons = services.map(
    ({ id, name }) =>
      html`<a class="button" href="/oauth2/${id}?next=${encodeURIComponent(next)}">Sign in with ${name}</a>`,
  );
  const either = password && services.length > 0 ? html`<p class="or"><span>or</span></p>` : undefined;
  const none =
    !password && services.length === 0
      ? html`<p>No way to sign in with a browser is configured. Use a personal token.</p>`
      : undefined;
  return page(
    'Sign in',
    html`<h1>Sign in</h1>
      ${problem(message)}
      ${password ? form : undefined}
      ${either}
      ${buttons}
      ${none}`,
  );
}
