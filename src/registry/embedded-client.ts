import type { Clock } from '../base/clock.ts';
import { OciClient } from './oci-client.ts';
import type { TokenService } from './token-service.ts';

/** Each token is made for one request, which must begin with it. */
const lifetime = 60;

/**
 * The manager's own client of the embedded registry: straight to the socket, past the gateway, with tokens it
 * signs itself. `name` stands in messages.
 */
export function embeddedClient({
  socketPath,
  name,
  tokens,
  clock,
}: {
  socketPath: string;
  name: string;
  tokens: TokenService;
  clock: Clock;
}): OciClient {
  return new OciClient({
    endpoint: { kind: 'socket', socketPath, name },
    credentials: {
      kind: 'bearer',
      token: (access) => tokens.issue({ subject: 'slipway', access, expiresIn: lifetime }),
    },
    clock,
  });
}
