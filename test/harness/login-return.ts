import { type Browser, hiddenField, type Visit } from './browser.ts';

/** Whether an address is where a login service sends the browser back to. */
export const isCallback = (url: string): boolean => new URL(url).pathname.endsWith('/callback');

/** Begins to connect a service by the form on the first page; ends where that page leads. */
export async function beginConnecting(browser: Browser, site: string, service: string): Promise<Visit> {
  const home = await browser.request(`${site}/`);
  const csrf = hiddenField(home.text, 'csrf_token');
  const page = await browser.request(`${site}/oauth2/${service}/link`, { form: { csrf_token: csrf } });
  const url = /content="0; url=([^"]+)"/.exec(page.text)?.[1];
  if (url === undefined) throw new Error(`the page leads nowhere: ${page.status} ${page.text}`);
  return await browser.go(url.replaceAll('&amp;', '&'), { until: isCallback });
}

export async function nameOf(browser: Browser, site: string): Promise<string | undefined> {
  const { status, text } = await browser.request(`${site}/api/v1/user`);
  return status === 200 ? (JSON.parse(text) as { username: string }).username : undefined;
}
