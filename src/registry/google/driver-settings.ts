const mebibyte = 1024 * 1024;

/** How docker-registry's driver for S3 is to speak to Google, through the proxy. */
export const googleDriverSettings = {
  // None is asked for, so that the bucket's own class holds.
  storageclass: 'NONE',
  // Whole objects are copied by Google. 5 GiB is the most that can be set; what is larger goes through the proxy.
  multipartcopythresholdsize: 5 * 1024 * mebibyte,
  multipartcopychunksize: 256 * mebibyte,
  multipartcopymaxconcurrency: 4,
} as const;
