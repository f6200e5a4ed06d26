import { rm } from 'node:fs/promises';
import { boundCommand, freePort, ServerProcess, serviceFolder, type TestService } from './service.ts';

export interface MotoServer extends TestService {
  /** Of a user who may do what the policy says. Other keys are refused, and what it does not allow. */
  readonly credentials: { readonly accessKey: string; readonly secretKey: string };
}

export interface MotoOptions {
  /** From `findMoto`. */
  readonly python: string;
  /** What the server is to the tests: part of its folder's name. */
  readonly service: string;
  /** The IAM policy of the user. */
  readonly policy: unknown;
  /** Further settings of moto. */
  readonly settings?: Readonly<Record<string, string>>;
}

/** A real server of AWS's protocols on the loopback, whose keys and rights are checked. */
export async function startMoto({
  python,
  service,
  policy,
  settings = {},
}: MotoOptions): Promise<MotoServer> {
  const folder = await serviceFolder(service);
  for (let tries = 1; ; tries += 1) {
    const port = await freePort();
    const url = `http://127.0.0.1:${port}`;
    const server = new ServerProcess(
      boundCommand(undefined, 'TERM', [
        'env',
        // The calls that make the user and its key; from then on every call has to be signed by it.
        'INITIAL_NO_AUTH_ACTION_COUNT=3',
        ...Object.entries(settings).map(([name, value]) => `${name}=${value}`),
        ...[python, '-m', 'moto.server', '-H', '127.0.0.1', '-p', `${port}`],
      ]),
      folder,
    );
    const answers = async () =>
      (await fetch(`${url}/moto-api/`).catch(() => undefined))?.status !== undefined;
    if (await server.ready(answers)) {
      return {
        url,
        credentials: await newUser(url, policy),
        [Symbol.asyncDispose]: async () => {
          await server.stop('SIGTERM');
          await rm(folder, { recursive: true, force: true });
        },
      };
    }
    if (tries === 5) throw new Error(`moto does not start: ${server.output}`);
  }
}

async function newUser(url: string, policy: unknown): Promise<MotoServer['credentials']> {
  const user = { UserName: 'slipway' };
  await iam(url, { Action: 'CreateUser', ...user });
  await iam(url, {
    Action: 'PutUserPolicy',
    ...user,
    PolicyName: 'allowed',
    PolicyDocument: JSON.stringify(policy),
  });
  const answer = await iam(url, { Action: 'CreateAccessKey', ...user });
  const [accessKey, secretKey] = ['AccessKeyId', 'SecretAccessKey'].map(
    (name) => new RegExp(`<${name}>([^<]+)</${name}>`).exec(answer)?.[1],
  );
  if (accessKey === undefined || secretKey === undefined) throw new Error(`no key was given: ${answer}`);
  return { accessKey, secretKey };
}

async function iam(url: string, parameters: Record<string, string>): Promise<string> {
  const response = await fetch(url, {
    method: 'POST',
    headers: {
      authorization:
        'AWS4-HMAC-SHA256 Credential=first/20260101/us-east-1/iam/aws4_request, SignedHeaders=host, Signature=none',
    },
    body: new URLSearchParams({ ...parameters, Version: '2010-05-08' }),
  });
  const text = await response.text();
  if (!response.ok) throw new Error(`${parameters.Action}: ${response.status} ${text}`);
  return text;
}
