/// `1 rank`, `4 ranks`.
func counted(_ count: Int, _ noun: String) -> String {
  "\(count == 1 ? "1" : grouped(count)) \(noun)\(count == 1 ? "" : "s")"
}

/// `a`, `a and b`, `a, b and c`; of many the first five and how many more.
func listed(_ items: [String]) -> String {
  guard items.count > 1, let last = items.last else { return items.first ?? "" }
  if items.count > 7 {
    return "\(items.prefix(5).joined(separator: ", ")) and \(items.count - 5) more"
  }
  return "\(items.dropLast().joined(separator: ", ")) and \(last)"
}

/// The text with a capital letter at its beginning.
func capitalized(_ text: String) -> String { text.prefix(1).uppercased() + text.dropFirst() }

/// Ascending numbers as `0-3,8`, as Linux writes them.
package func ranges(_ numbers: [Int]) -> String {
  var runs: [ClosedRange<Int>] = []
  for number in numbers {
    if let last = runs.last, last.upperBound + 1 == number {
      runs[runs.count - 1] = last.lowerBound...number
    } else {
      runs.append(number...number)
    }
  }
  return runs.map { $0.count == 1 ? "\($0.lowerBound)" : "\($0.lowerBound)-\($0.upperBound)" }
    .joined(separator: ",")
}

/// The numbers of `0-3,8`; none where the text is something else.
package func numbers(inRanges text: some StringProtocol) -> [Int] {
  text.split(separator: ",").flatMap { run -> [Int] in
    let ends = run.split(separator: "-").map { Int(String($0)) }
    guard let first = ends.first ?? nil, let last = ends.last ?? nil, first <= last else {
      return []
    }
    return Array(first...last)
  }
}

/// Lines of at most `width` characters, those after the first begun with `indent`.
func wrapped(_ text: String, width: Int, indent: String) -> String {
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
