import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import type { Browser, Visit } from '../harness/browser.ts';
import { freePort } from './service.ts';

/** A real OpenID provider in a process of its own, which ends with this one. */
export class OpenIdServer implements AsyncDisposable {
  readonly url: string;
  readonly #child: ChildProcess;

  private constructor(url: string, child: ChildProcess) {
    this.url = url;
    this.#child = child;
  }

  static async start(redirectUris: readonly string[], port?: number): Promise<OpenIdServer> {
    const own = port ?? (await freePort());
    const child = fork(join(import.meta.dirname, 'openid-process.ts'), [String(own), ...redirectUris], {
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    });
    let output = '';
    child.stderr?.on('data', (bytes: Buffer) => {
      output += bytes.toString();
    });
    await new Promise<void>((resolve, reject) => {
      child.stdout?.on('data', (bytes: Buffer) => bytes.toString().includes('listening') && resolve());
      child.once('exit', (code) => reject(new Error(`the OpenID provider ended with ${code}: ${output}`)));
    });
    return new OpenIdServer(`http://127.0.0.1:${own}`, child);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    this.#child.kill('SIGKILL');
    await once(this.#child, 'exit');
  }
}

/** Signs in at the provider and agrees, as a person does who was sent there. `until` says where to stop. */
export async function agree(
  browser: Browser,
  start: Visit,
  name: string,
  until?: (url: string) => boolean,
): Promise<Visit> {
  let at = start;
  for (let page = 0; page < 4 && /name="prompt" value="(\w+)"/.test(at.text); page += 1) {
    const action = /<form[^>]* action="([^"]+)"/.exec(at.text)?.[1] ?? '';
    const prompt = /name="prompt" value="(\w+)"/.exec(at.text)?.[1] ?? '';
    const form = { prompt, ...(prompt === 'login' ? { login: name, password: 'any' } : {}) };
    at = await browser.go(new URL(action, at.url).href, { form, ...(until === undefined ? {} : { until }) });
  }
  return at;
}

/** Refuses to sign in at the provider. */
export async function decline(browser: Browser, start: Visit): Promise<Visit> {
  const abort = /href="([^"]+\/abort)"/.exec(start.text)?.[1];
  if (abort === undefined) throw new Error('the page cannot be declined');
  return await browser.go(new URL(abort, start.url).href);
}
