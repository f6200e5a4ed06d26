import { type Html, html } from './html.ts';

/** A whole page. It needs no script, and nothing from any other host. */
export function page(title: string, body: Html, { head }: { readonly head?: Html } = {}): string {
  return html`<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <title>${title} – Slipway</title>
    <link rel="stylesheet" href="/signin/pages.css">${head}
  </head>
  <body>
    <main>
      <p class="brand"><span class="mark" aria-hidden="true"></span>Slipway</p>
      ${body}
    </main>
  </body>
</html>
`.text;
}

export function problem(message: string | undefined): Html | undefined {
  return message === undefined ? undefined : html`<p class="problem" role="alert">${message}</p>`;
}
