import { html } from './html.ts';
import { page, problem } from './layout.ts';

/** For a person who came to an address where nothing is to be seen. Says nothing of the address. */
export function missingPage(message: string): string {
  return page(
    'Nothing here',
    html`<h1>Nothing here</h1>
      ${problem(message)}
      <a class="button" href="/">To the start page</a>
      <nav>
        <a href="/api/v1/docs">API documentation</a>
      </nav>`,
  );
}
