import type { GitHost, HookDelivery, HookEvent, OwnRepository, Proof } from '../git-host.ts';
import { readCustomGit } from './custom-git-payload.ts';
import { nameIn } from './delivery-header.ts';
import { proveSignature } from './proof.ts';

/** Any git repository, with a hook that a person installs. There is nothing to ask. */
export class CustomGit implements GitHost {
  readonly service = 'custom-git';
  readonly title = 'Custom git repository';
  readonly oauth = undefined;

  repositoryUrl(): undefined {
    return undefined;
  }

  deliveryName(delivery: HookDelivery): string | undefined {
    return nameIn(delivery, 'x-slipway-delivery');
  }

  prove(delivery: HookDelivery, secret: string): Proof {
    return proveSignature(delivery.headers['x-slipway-signature-256'], delivery.body, secret);
  }

  read(delivery: HookDelivery, own: OwnRepository): HookEvent {
    return readCustomGit(delivery, own);
  }

  connect(): undefined {
    return undefined;
  }
}
