import { nearest } from './nearest.ts';
import type { LooseConfig, RuleReport } from './rule-report.ts';

export function storageRules(config: LooseConfig, report: RuleReport): void {
  const engines = config.DISTRIBUTED_STORAGE_CONFIG;
  if (engines !== undefined && Object.keys(engines).length === 0)
    report.fault(
      'missing-key',
      ['DISTRIBUTED_STORAGE_CONFIG'],
      'is empty; it must have an engine, or be left out.',
    );
  const known = Object.keys(engines ?? {});
  const expect = (keys: (string | number)[], name: string | undefined) => {
    if (name === undefined || known.includes(name)) return;
    const like = nearest(name, known);
    report.fault(
      'not-allowed',
      keys,
      `is ${JSON.stringify(name)}, which is not in DISTRIBUTED_STORAGE_CONFIG${known.length === 0 ? '' : `; it must be one of ${known.join(', ')}`}.${like === undefined ? '' : ` Did you mean ${like}?`}`,
      { value: JSON.stringify(name), ...(like === undefined ? {} : { nearest: like }) },
    );
  };
  config.DISTRIBUTED_STORAGE_PREFERENCE?.forEach((name, index) => {
    expect(['DISTRIBUTED_STORAGE_PREFERENCE', index], name);
  });
  expect(['USERFILES_LOCATION'], config.USERFILES_LOCATION);
  expect(['LOG_ARCHIVE_LOCATION'], config.LOG_ARCHIVE_LOCATION);
  for (const [name, engine] of Object.entries(engines ?? {})) {
    const settings = engine?.[1];
    if (engine?.[0] !== 'S3Storage' || settings === undefined || !('s3_bucket' in settings)) continue;
    const at = ['DISTRIBUTED_STORAGE_CONFIG', name, 1];
    report.together(at, settings, 's3_access_key', 's3_secret_key');
    if (settings.endpoint_url !== undefined && settings.host !== undefined)
      report.fault('contradiction', [...at, 'host'], 'stands beside endpoint_url; keep one of them.');
    if (settings.port !== undefined && settings.host === undefined)
      report.fault(
        'contradiction',
        [...at, 'port'],
        'is of no use without host; put it into endpoint_url, or set host.',
      );
    const { s3_region: region, region: other } = settings;
    if (region !== undefined && other !== undefined && region !== other)
      report.fault('contradiction', [...at, 'region'], 'is not the same as s3_region; keep one of them.');
  }
}
