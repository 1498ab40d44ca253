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
