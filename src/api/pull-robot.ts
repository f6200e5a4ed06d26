import type { Accounts, Principal } from '../account/accounts.ts';
import { parseRobotName } from '../account/robot-name.ts';
import type { RepositoryName } from '../model/repository-name.ts';
import { ApiError } from './api-error.ts';
import { namespaceRoleOf } from './namespace-role.ts';

/**
 * The robot whose rights the builds of a repository pull with: one of the repository's namespace, named by somebody who
 * administers that namespace. Anybody else could read through it what they may not. Throws ApiError.
 */
export async function requirePullRobot(
  text: string,
  repository: RepositoryName,
  principal: Principal,
  accounts: Accounts,
): Promise<string> {
  const { namespace } = repository;
  if (parseRobotName(text)?.namespace !== namespace)
    throw new ApiError(
      'invalid_request',
      `"${text.slice(0, 100)}" is not a robot account of ${namespace}. "pull_robot" is one of the repository's namespace: ${namespace}+name.`,
    );
  // First, so that nobody learns which robots there are.
  if ((await namespaceRoleOf(principal, namespace, accounts)) !== 'admin')
    throw new ApiError(
      'insufficient_scope',
      `Only administrators of ${namespace} may say that a build pulls as one of its robots. Leave "pull_robot" out: a build pulls what whoever asks for it may pull.`,
    );
  if (!(await accounts.robots.isEnabled(text)))
    throw new ApiError(
      'invalid_request',
      `There is no robot account "${text.slice(0, 100)}" that may sign in. Make it first: slipway robot create ${text.slice(0, 100)}.`,
    );
  return text;
}
