import { CliError } from './cli-error.ts';
import type { BuildView, Client } from './client.ts';

/**
 * The build a person means by `text`: a whole id, or the first characters of one among the builds they may see.
 * Ids are unique over all repositories, so no repository has to be named.
 */
export async function findBuild(client: Client, text: string): Promise<BuildView> {
  if (!/^[0-9a-f-]{4,36}$/.test(text))
    throw new CliError('usage', `"${text}" is not a build id. List them with: slipway builds`);
  const { builds } = await client.get<{ builds: BuildView[] }>(
    `/api/v1/builds/?id=${encodeURIComponent(text)}&limit=2`,
  );
  const [first, second] = builds;
  if (first === undefined)
    throw new CliError(
      'refused',
      `There is no build ${text} that you may see. List them with: slipway builds`,
    );
  if (second !== undefined)
    throw new CliError('usage', `More than one build starts with ${text}. Give more characters.`);
  return first;
}
