import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { EgressGuard } from '../../egress/egress-guard.ts';
import { EgressPolicy } from '../../egress/egress-policy.ts';
import { type ObtainSourceOptions, obtainSource } from './obtain-source.ts';
import { tarOf } from './tar-samples.ts';

let workspace: string;
let server: Server;
let url: string;

const archive = gzipSync(
  tarOf([
    { name: 'app/Dockerfile', data: 'FROM scratch' },
    { name: 'app/.dockerignore', data: 'x' },
  ]),
);

beforeEach(async () => {
  workspace = mkdtempSync(join(tmpdir(), 'slipway-obtain-'));
  server = createServer((_request, response) =>
    response.writeHead(200, { 'content-type': 'application/gzip' }).end(archive),
  );
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/package`;
});

afterEach(async () => {
  rmSync(workspace, { recursive: true });
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
});

const guard = new EgressGuard(new EgressPolicy({ allowHosts: ['127.0.0.1'] }));

function obtain(options: Partial<ObtainSourceOptions> = {}) {
  const from = { kind: 'package', url, origin: 'own' } as const;
  return obtainSource({ from, context: '/app', dockerfilePath: 'Dockerfile', workspace, guard, ...options });
}

describe('obtainSource', () => {
  it('leaves the source in the workspace and nothing else', async () => {
    const { dockerfile, contextDir, ignoreFile, entries, bytes, commit } = await obtain();
    expect(readFileSync(dockerfile, 'utf8')).toBe('FROM scratch');
    expect([contextDir, ignoreFile]).toEqual([
      join(workspace, 'source/app'),
      join(workspace, 'source/app/.dockerignore'),
    ]);
    expect([entries, bytes, commit]).toEqual([3, 13, undefined]);
    expect(readdirSync(workspace)).toEqual(['source']);
  });

  it('says what is missing', async () => {
    await expect(obtain({ context: '/' })).rejects.toMatchObject({
      code: 'dockerfilemissing',
      message: expect.stringContaining('/app/Dockerfile'),
    });
  });

  it('leaves no key behind when the repository cannot be cloned', async () => {
    const from = { kind: 'git', url: `${url}/x.git`, ref: 'main', privateKey: 'secret' } as const;
    await expect(obtain({ from })).rejects.toMatchObject({ code: 'gitfailure' });
    expect(readdirSync(workspace)).not.toContain('git');
  });
});
