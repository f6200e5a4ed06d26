import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type MotoServer, startMoto } from './moto-server.ts';

/** An image that moto has. */
export const motoImage = 'ami-1e749f67';

/**
 * A real EC2 API on the loopback, with one user, whose rights are those that docs/ec2.md tells people to give. moto knows
 * neither resources nor conditions of a policy, so these two are wide here.
 */
export async function startEc2(python: string): Promise<MotoServer> {
  const { Version, Statement } = documentedPolicy();
  const policy = {
    Version,
    Statement: Statement.map(({ Condition: _, ...statement }) => ({ ...statement, Resource: '*' })),
  };
  return await startMoto({
    python,
    service: 'ec2',
    policy,
    settings: { MOTO_ENABLE_AMI_VALIDATION: 'true', MOTO_EC2_ENABLE_INSTANCE_TYPE_VALIDATION: 'true' },
  });
}

interface Policy {
  readonly Version: string;
  readonly Statement: readonly Readonly<Record<string, unknown>>[];
}

/** The policy of the manual. */
export function documentedPolicy(): Policy {
  const manual = readFileSync(join(import.meta.dirname, '../../docs/ec2.md'), 'utf8');
  const json = /```json\n(\{[^`]*"Statement"[^`]*\})\n```/.exec(manual)?.[1];
  if (json === undefined) throw new Error('docs/ec2.md has no policy');
  return JSON.parse(json) as Policy;
}
