export { storableText as storable } from '../base/cut-text.ts';
