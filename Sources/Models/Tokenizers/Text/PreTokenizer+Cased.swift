/// The words of o200k, in which letters go by case.
extension PreTokenizer {
  /// Where the word that begins at `start` ends.
  static func casedWord(_ text: ClassifiedText, _ start: Int) -> Int {
    let (end, first) = (text.count, text.classes[start])
    // What may come before letters, and else nothing.
    let mayLead = first != .newline && first != .letter && first != .number
    let bodies = mayLead ? [start + 1, start] : [start]
    for mustEndLow in [true, false] {
      for body in bodies {
        if let next = letters(text, body, end, mustEndLow: mustEndLow) {
          return next < end ? next + contraction(text, next, end, ignoringCase: true) : next
        }
      }
    }
    let next = codeRest(text, start, end, numbers: 3)
    let follows = text.scalars[start] == " " && start + 1 < end && text.classes[start + 1] == .other
    guard first == .other || follows else { return next }
    // A slash goes with ends of lines there.
    var last = next
    while last < end, text.classes[last] == .newline || text.scalars[last] == "/" { last += 1 }
    return last
  }

  /// Where letters end that are upper ones first and then lower ones; nil if there are none.
  ///
  /// - Parameter mustEndLow: whether there is a lower one, and not only an upper one.
  private static func letters(
    _ text: ClassifiedText, _ start: Int, _ end: Int, mustEndLow: Bool
  ) -> Int? {
    var next = start
    while next < end, LetterCase(text.scalars[next]).isUpper { next += 1 }
    let upperEnd = next
    while next < end, LetterCase(text.scalars[next]).isLower { next += 1 }
    if next > upperEnd { return next }
    if !mustEndLow { return upperEnd > start ? upperEnd : nil }
    // The last of the upper ones that are lower ones too.
    return (start..<upperEnd).last { LetterCase(text.scalars[$0]).isLower }.map { $0 + 1 }
  }
}

/// Which of two kinds of letters a character counts among; those without case and marks are both.
private struct LetterCase {
  /// One of `[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]`.
  let isUpper: Bool
  /// One of `[\p{Ll}\p{Lm}\p{Lo}\p{M}]`.
  let isLower: Bool

  @inline(__always)
  init(_ scalar: Unicode.Scalar) {
    if scalar.isASCII {
      isUpper = ("A"..."Z").contains(scalar)
      isLower = ("a"..."z").contains(scalar)
      return
    }
    switch scalar.properties.generalCategory {
    case .uppercaseLetter, .titlecaseLetter: (isUpper, isLower) = (true, false)
    case .lowercaseLetter: (isUpper, isLower) = (false, true)
    case .modifierLetter, .otherLetter, .nonspacingMark, .spacingMark, .enclosingMark:
      (isUpper, isLower) = (true, true)
    default: (isUpper, isLower) = (false, false)
    }
  }
}
