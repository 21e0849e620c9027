export { type BuiltInClass, builtInClasses, type ClassKind, classOf } from './classes.ts'
export { type RenderOptions } from './pod-template.ts'
export { type Child, childrenOf, servicePorts } from './render.ts'
export { isMine, type Revision, tagsFrom } from './revision.ts'
