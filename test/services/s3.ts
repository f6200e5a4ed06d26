import { rm } from 'node:fs/promises';
import { boundCommand, freePort, ServerProcess, serviceFolder, type TestService } from './service.ts';

export interface S3Service extends TestService {
  readonly credentials: { readonly accessKey: string; readonly secretKey: string };
}

/** A real S3 server on the loopback, whose keys are checked. `python` is from `findMoto`. */
export async function startS3(python: string): Promise<S3Service> {
  const folder = await serviceFolder('s3');
  for (let tries = 1; ; tries += 1) {
    const port = await freePort();
    const url = `http://127.0.0.1:${port}`;
    const server = new ServerProcess(
      boundCommand(undefined, 'TERM', [
        'env',
        // The calls that make the user and its key; from then on every call has to be signed by it.
        'INITIAL_NO_AUTH_ACTION_COUNT=3',
        ...[python, '-m', 'moto.server', '-H', '127.0.0.1', '-p', `${port}`],
      ]),
      folder,
    );
    const answers = async () =>
      (await fetch(`${url}/moto-api/`).catch(() => undefined))?.status !== undefined;
    if (await server.ready(answers)) {
      return {
        url,
        credentials: await newUser(url),
        [Symbol.asyncDispose]: async () => {
          await server.stop('SIGTERM');
          await rm(folder, { recursive: true, force: true });
        },
      };
    }
    if (tries === 5) throw new Error(`moto does not start: ${server.output}`);
  }
}

const policy = {
  Version: '2012-10-17',
  Statement: [{ Effect: 'Allow', Action: 's3:*', Resource: '*' }],
};

async function newUser(url: string): Promise<S3Service['credentials']> {
  const user = { UserName: 'slipway' };
  await iam(url, { Action: 'CreateUser', ...user });
  await iam(url, {
    Action: 'PutUserPolicy',
    ...user,
    PolicyName: 'everything',
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
