/**
 * Appends to a list that holds at most `most` entries: when it is full, one in its middle makes room, so that the
 * beginning and the end of what happened are there however long it took.
 */
export function keepIn<T>(list: T[], entry: T, most: number): void {
  if (list.length >= most) list.splice(most >>> 1, 1);
  list.push(entry);
}
