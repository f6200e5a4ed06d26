import Type, { type Static } from 'typebox';
import { namespaceRoles } from '../account/organizations.ts';
import type { Team } from '../account/teams.ts';
import { textEnum } from './text-enum.ts';

export const teamRole = textEnum(namespaceRoles, {
  description:
    'member: what the team may do with repositories; creator: that, and make repositories; admin: administer the organization',
});

export const teamSchema = Type.Object(
  {
    name: Type.String(),
    description: Type.String(),
    role: teamRole,
    member_count: Type.Integer(),
    repo_count: Type.Integer(),
    can_view: Type.Literal(true),
    new_team: Type.Optional(Type.Boolean()),
  },
  { title: 'Team' },
);

export function viewTeam(team: Team): Static<typeof teamSchema> {
  return {
    name: team.name,
    description: team.description,
    role: team.role,
    member_count: team.members,
    repo_count: team.repositories,
    can_view: true,
  };
}
