import Type, { type Static } from 'typebox';
import type { Grant } from '../account/robots.ts';
import { textEnum } from './text-enum.ts';

/** A role on a repository, seen from who has it. */
export const grantSchema = Type.Object(
  {
    repository: Type.Object({ namespace: Type.String(), name: Type.String(), is_public: Type.Boolean() }),
    role: textEnum(['read', 'write', 'admin']),
  },
  { title: 'Grant' },
);

export function viewGrant({ repository, visibility, role }: Grant): Static<typeof grantSchema> {
  return { repository: { ...repository, is_public: visibility === 'public' }, role };
}
