/// `1 rank`, `4 ranks`.
package func counted(_ count: Int, _ noun: String) -> String {
  "\(count == 1 ? "1" : grouped(count)) \(noun)\(count == 1 ? "" : "s")"
}

/// The threads of each of some ranks: `1 thread`, `4 threads`, `2 to 3 threads`.
package func threadWords(_ threads: [Int]) -> String {
  let (least, most) = (threads.min() ?? 1, threads.max() ?? 1)
  return least == most ? counted(least, "thread") : "\(least) to \(most) threads"
}

/// `a`, `a and b`, `a, b and c`; of many the first five and how many more.
package func listed(_ items: [String]) -> String {
  guard items.count > 1, let last = items.last else { return items.first ?? "" }
  if items.count > 7 {
    return "\(items.prefix(5).joined(separator: ", ")) and \(items.count - 5) more"
  }
  return "\(items.dropLast().joined(separator: ", ")) and \(last)"
}

/// The text with a capital letter at its beginning.
package func capitalized(_ text: String) -> String {
  text.prefix(1).uppercased() + text.dropFirst()
}

/// Lines of at most `width` characters, those after the first begun with `indent`.
package func wrapped(_ text: String, width: Int, indent: String) -> String {
  var lines: [String] = []
  var line = ""
  for word in text.split(separator: " ") {
    if !line.isEmpty, line.count + 1 + word.count > width {
      lines.append(line)
      line = indent + word
    } else {
      line += line.isEmpty ? "\(word)" : " \(word)"
    }
  }
  return (lines + [line]).joined(separator: "\n")
}

/// A commit in a few characters, and whether the source was modified.
package func shortCommit(_ commit: String) -> String {
  let parts = commit.split(separator: "-", maxSplits: 1)
  return ([parts.first?.prefix(9) ?? ""] + parts.dropFirst()).joined(separator: "-")
}
