import { RegistryServer } from '../../test/fakes/registry-server.ts';
import { systemClock } from '../base/clock.ts';
import { ociClientSuite } from './oci-client.suite.ts';
import { OciClient } from './oci-client.ts';

ociClientSuite('the registry process on its socket', async () => {
  const server = await RegistryServer.start();
  let repositories = 0;
  return {
    client: server.client(),
    newRepository: () => {
      repositories += 1;
      return `team/app${repositories}`;
    },
    stop: () => server.stop(),
  };
});

ociClientSuite('the gateway, with a password', async () => {
  const server = await RegistryServer.start();
  server.authorizer.passwords.set('ann', 'secret');
  let repositories = 0;
  return {
    client: new OciClient({
      endpoint: { kind: 'network', host: server.host, security: 'http' },
      credentials: { kind: 'password', username: 'ann', password: 'secret' },
      clock: systemClock,
    }),
    newRepository: () => {
      repositories += 1;
      server.authorizer.allow('ann', `team/app${repositories}`, ['pull', 'push', 'delete']);
      return `team/app${repositories}`;
    },
    stop: () => server.stop(),
  };
});
