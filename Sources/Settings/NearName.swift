/// The name most like `name`, if one is so like it that `name` may be a slip of the finger.
func nearName(to name: String, among names: some Sequence<String>) -> String? {
  let nearest = Set(names).sorted().map { ($0, editDistance(name, $0)) }.min { $0.1 < $1.1 }
  guard let nearest, nearest.1 <= max(1, name.count / 4) else { return nil }
  return nearest.0
}

/// The name that is meant by `name`, if that is likely: the most like it, or the only one that it
/// begins.
package func likelyName(for name: String, among names: some Sequence<String>) -> String? {
  if let near = nearName(to: name, among: names) { return near }
  let longer = Set(names).filter { $0.hasPrefix(name) }
  return name.count > 1 && longer.count == 1 ? longer.first : nil
}

/// The least number of characters added, left out, changed, or swapped with their neighbour that
/// make one text of the other (optimal string alignment).
private func editDistance(_ first: String, _ second: String) -> Int {
  let (first, second) = (Array(first), Array(second))
  var before: [Int] = []
  var last = Array(0...second.count)
  for i in first.indices {
    var row = [i + 1]
    for j in second.indices {
      var least = min(last[j + 1], row[j]) + 1
      least = min(least, last[j] + (first[i] == second[j] ? 0 : 1))
      if i > 0, j > 0, first[i] == second[j - 1], first[i - 1] == second[j] {
        least = min(least, before[j - 1] + 1)
      }
      row.append(least)
    }
    (before, last) = (last, row)
  }
  return last[second.count]
}
