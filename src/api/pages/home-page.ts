import type { ExternalIdentity } from '../../account/external-identities.ts';
import { html } from './html.ts';
import { page, problem } from './layout.ts';

export interface HomePage {
  readonly username: string;
  readonly superuser: boolean;
  readonly csrf: string;
  readonly services: readonly { readonly id: string; readonly name: string }[];
  readonly connected: readonly ExternalIdentity[];
}

const links = html`<nav>
        <a href="/api/v1/docs">API documentation</a>
      </nav>`;

export function welcomePage(): string {
  return page(
    'Welcome',
    html`<h1>Container image builds</h1>
      <p>You are not signed in.</p>
      <a class="button primary" href="/signin">Sign in</a>
      ${links}`,
  );
}

export function homePage({ username, superuser, csrf, services, connected }: HomePage): string {
  const token = html`<input type="hidden" name="csrf_token" value="${csrf}">`;
  const names = new Map(services.map(({ id, name }) => [id, name]));
  const connections = connected.map(
    ({ provider, label }) => html`<li>${names.get(provider) ?? provider}: <b>${label}</b></li>`,
  );
  const connect = services
    .filter(({ id }) => !connected.some(({ provider }) => provider === id))
    .map(
      ({ id, name }) => html`<form method="post" action="/oauth2/${id}/link">
        ${token}<button type="submit" class="plain">Connect ${name}</button>
      </form>`,
    );
  const logins =
    services.length + connected.length === 0
      ? undefined
      : html`<section>
        <h2>Connected logins</h2>
        ${connections.length === 0 ? html`<p class="muted">None yet.</p>` : html`<ul>${connections}</ul>`}
        ${connect}
      </section>`;
  return page(
    'Home',
    html`<h1>Container image builds</h1>
      <p>Signed in as <b>${username}</b>${superuser ? html` <span class="tag">superuser</span>` : undefined}</p>
      ${links}
      ${logins}
      <form method="post" action="/signout">${token}<button type="submit" class="plain">Sign out</button></form>`,
  );
}

/** A form's answer cannot lead to another site where `form-action` allows this one only; a page can. */
export function leavePage(name: string, url: string): string {
  return page(
    `On to ${name}`,
    html`<h1>On to ${name}</h1>
      <p>Sign in there to connect it with your account here.</p>
      <a class="button primary" href="${url}" rel="noreferrer">Continue</a>`,
    { head: html`<meta http-equiv="refresh" content="0; url=${url}">` },
  );
}

export function failedPage(title: string, message: string): string {
  return page(
    title,
    html`<h1>${title}</h1>
      ${problem(message)}
      <a class="button" href="/signin">Back to sign-in</a>`,
  );
}
