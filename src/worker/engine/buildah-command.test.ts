import { describe, expect, it } from 'vitest';
import { buildArguments } from './buildah-command.ts';

describe('build arguments', () => {
  it('travel in the environment, so that the process list shows names only', () => {
    expect(
      buildArguments(
        new Map([
          ['TOKEN', 's3cret'],
          ['EMPTY', ''],
        ]),
      ),
    ).toEqual({
      argv: ['--build-arg=TOKEN', '--build-arg=EMPTY'],
      env: { TOKEN: 's3cret', EMPTY: '' },
    });
  });

  it.each([
    'PATH',
    'HOME',
    'TMPDIR',
    'LD_PRELOAD',
    'LD_LIBRARY_PATH',
    'BASH_ENV',
    'ENV',
    'IFS',
    'HTTP_PROXY',
    'https_proxy',
    'no_proxy',
    'STORAGE_DRIVER',
    'CONTAINERS_CONF',
    '_CONTAINERS_ROOTLESS_UID',
    'CONTAINER_HOST',
    'BUILDAH_ISOLATION',
    'REGISTRY_AUTH_FILE',
    'XDG_RUNTIME_DIR',
    'GODEBUG',
    'GOMAXPROCS',
    'SSL_CERT_FILE',
    'DOCKER_CONFIG',
    'DBUS_SESSION_BUS_ADDRESS',
    'LC_ALL',
  ])('never change the environment of buildah itself: %s', (name) => {
    expect(buildArguments(new Map([[name, 'x']]))).toEqual({ argv: [`--build-arg=${name}=x`], env: {} });
  });

  it.each(['with-dash', '1st', 'a b', ''])('with a name no environment takes go as arguments: %j', (name) => {
    expect(buildArguments(new Map([[name, 'x']])).env).toEqual({});
  });

  it.each(['GOAL', 'PATHS', 'LDAP', 'DOCKERFILE', 'SSHKEY', 'CONTAINER'])(
    'whose name only resembles such a one stay hidden: %s',
    (name) => {
      expect(buildArguments(new Map([[name, 'x']])).env).toEqual({ [name]: 'x' });
    },
  );
});
