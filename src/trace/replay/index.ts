export { type Answer, compareAnswers, type Difference, type Ignored, ignoring } from './compare.ts';
export { MAX_SCRIPT, type Script, type ScriptedAnswer, type ScriptedRequest, scriptOf } from './script.ts';
