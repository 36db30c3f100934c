export { renderReport } from './page.ts';
export { counted, formatBytes, formatMs, grouped } from './quantities.ts';
export {
  type Ending,
  type FailureStory,
  type Figure,
  type Story,
  storyOfFailure,
  storyOfMigration,
  storyOfReception,
  storyOfSaving,
} from './story.ts';
