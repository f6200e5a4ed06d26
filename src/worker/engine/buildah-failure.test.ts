import { describe, expect, it } from 'vitest';
import { explainFailure, pushMayRecover } from './buildah-failure.ts';

const roomy = 1e9;
const explain = (text: string, status: number | undefined = 125, freeBytes = roomy) =>
  explainFailure({ operation: 'build', status, lines: text.split('\n'), freeBytes });

/** What buildah 1.28.2 and newer print, where the integration tests cannot make it happen. */
describe('explaining buildah’s failures', () => {
  it.each([
    [
      'initializing source docker://docker.io/library/nginx:latest: reading manifest latest in docker.io/library/nginx: toomanyrequests: You have reached your pull rate limit.',
      'baseimageregistry',
      'docker.io/library/nginx:latest limits',
    ],
    [
      'creating build container: initializing source docker://docker.io/me/private:1: reading manifest 1 in docker.io/me/private: requested access to the resource is denied',
      'cannotpullbaseimage',
      'docker.io/me/private:1 needs credentials',
    ],
    [
      'creating build container: initializing source docker://quay.io/me/x@sha256:0000: reading manifest sha256:0000 in quay.io/me/x: unauthorized: access to the requested resource is not authorized',
      'cannotpullbaseimage',
      'quay.io/me/x@sha256:0000 needs credentials',
    ],
    [
      'creating build container: initializing source docker://ghcr.io/me/x:1: Requesting bearer token: invalid status code from registry 403 (Forbidden)',
      'cannotpullbaseimage',
      'needs credentials',
    ],
    [
      'creating build container: initializing source docker://localhost:5000/a/b:403: reading manifest 403 in localhost:5000/a/b: manifest unknown',
      'cannotpullbaseimage',
      'localhost:5000/a/b:403 does not exist',
    ],
    [
      'creating build container: initializing source docker://r.example/a:1: pinging container registry r.example: Get "https://r.example/v2/": x509: certificate signed by unknown authority',
      'baseimageregistry',
      'x509',
    ],
    [
      'creating build container: choosing an image from manifest list docker://docker.io/library/a:1: no image found in manifest list for architecture s390x, variant "", OS linux',
      'cannotpullbaseimage',
      'platform',
    ],
    [
      'creating build container: Source image rejected: Running image dir:/x is rejected by policy.',
      'dockerfileissue',
      'registry',
    ],
    [
      'committing container for step {x}: writing blob: storing blob to file "/x": write /x: no space left on device',
      'diskfull',
      'disk',
    ],
    ['something nobody has seen', 'enginefailed', 'something nobody has seen'],
  ])('%s', (text, code, words) => {
    const error = explain(`STEP 1/2: FROM a\nError: ${text}`);
    expect(error.code).toBe(code);
    expect(error.message).toContain(words);
  });

  it('takes a full disk for the cause of whatever failed', () => {
    const text = 'Error: building at STEP "RUN make": while running runtime: exit status 1';
    expect(explain(text).code).toBe('builderror');
    expect(explain(text, 1, 0).code).toBe('diskfull');
  });

  it.each([
    'RUN echo "x": while running runtime: exit status 9',
    'RUN echo "no space left on device"',
    'RUN echo ": initializing source docker://a/b: unauthorized',
  ])('is not led astray by the instruction %s', (instruction) => {
    const error = explain(
      `Error: building at STEP "${instruction}": while running runtime: exit status 7`,
      7,
    );
    expect(error.code).toBe('builderror');
    expect(error.message).toContain('exit status 7');
  });

  it('says that a signal ended a step', () => {
    const error = explain('Error: building at STEP "RUN x": while running runtime: exit status 137', 137);
    expect(error.message).toMatch(/signal 9.*memory/);
  });

  it('takes a container that runc cannot make for no fault of the user', () => {
    const error = explain(
      'error running container: from /usr/bin/runc creating container for [/bin/sh -c x]: time="…" level=error msg="runc create failed: unable to start container process: error during container init: error mounting \\"proc\\""\n: exit status 1\nError: building at STEP "RUN x": while running runtime: exit status 1',
      1,
    );
    expect(error.code).toBe('enginefailed');
  });

  it.each([
    ['unshare: unshare failed: Operation not permitted', 1, 'enginemissing', '/etc/subuid'],
    ['newuidmap: write to uid_map failed: Operation not permitted', 1, 'enginemissing', '/etc/subuid'],
    ['unshare: failed to execute buildah: No such file or directory', 127, 'enginemissing', 'buildah'],
    ['STEP 1/2: FROM a', undefined, 'enginefailed', 'killed'],
    ['unshare: sigprocmask unblock failed: Invalid argument', 1, 'enginefailed', 'killed'],
    ['STEP 1/2: FROM a', 2, 'enginefailed', 'status 2'],
  ])('explains an end without words: %s', (text, status, code, words) => {
    const error = explainFailure({ operation: 'build', status, lines: [text], freeBytes: roomy });
    expect(error.code).toBe(code);
    expect(error.message).toContain(words);
  });

  it('has messages of one bounded line', () => {
    const error = explain(
      `Error: building at STEP "RUN ${'x\u001b[2J\t'.repeat(10_000)}": while running runtime: exit status 1`,
      1,
    );
    expect(error.message.length).toBeLessThan(1000);
    expect(error.message).not.toMatch(/[\u0000-\u001f]/);
  });

  it.each([
    ['pinging container registry r: dial tcp 127.0.0.1:1: connect: connection refused', true],
    ['writing blob: received unexpected HTTP status: 503 Service Unavailable', true],
    [
      'writing blob: initiating layer upload to /v2/a/blobs/uploads/ in r: denied: requested access to the resource is denied',
      false,
    ],
    [
      'trying to reuse blob at destination: unable to retrieve auth token: invalid username/password: unauthorized: authentication required',
      false,
    ],
  ])('knows whether pushing again may help: %s', (text, mayRecover) => {
    expect(pushMayRecover([`Error: ${text}`])).toBe(mayRecover);
  });
});
