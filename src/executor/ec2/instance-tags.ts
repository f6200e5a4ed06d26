import { type AttemptId, parseAttemptId } from '../../model/ids.ts';
import type { WorkerOrder } from '../executor.ts';
import type { Ec2Settings } from './ec2-settings.ts';

/** What every instance of a worker is called, so that people and budgets find them. */
const instanceName = 'Quay Ephemeral Builder';
const attemptTag = 'SlipwayAttempt';

/** Whoever may look at the account sees tags: the registration token is not among them. */
export function tagsOf({ executor, site }: Ec2Settings, order: WorkerOrder): Record<string, string> {
  return {
    Name: instanceName,
    BuildUUID: order.buildId,
    [attemptTag]: order.attemptId,
    SlipwayExecutor: executor,
    SlipwaySite: site,
  };
}

/** Finds the instances of this executor in this installation, and no other's. */
export function ownInstances({ executor, site }: Ec2Settings): { Name: string; Values: string[] }[] {
  return [
    { Name: 'tag:Name', Values: [instanceName] },
    { Name: 'tag:SlipwayExecutor', Values: [literally(executor)] },
    { Name: 'tag:SlipwaySite', Values: [literally(site)] },
  ];
}

export function ofAttempt(attemptId: AttemptId): { Name: string; Values: string[] } {
  return { Name: `tag:${attemptTag}`, Values: [attemptId] };
}

/** Filters take `*` and `?` for wildcards. */
function literally(value: string): string {
  return value.replace(/[*?\\]/g, '\\$&');
}

export function attemptOf(
  tags: readonly { readonly Key?: string | undefined; readonly Value?: string | undefined }[],
): AttemptId | undefined {
  return parseAttemptId(tags.find(({ Key }) => Key === attemptTag)?.Value ?? '');
}
