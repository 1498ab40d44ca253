import FoundationEssentials

/// A value as one line of JSON, its keys in order.
package func jsonLine(_ value: some Encodable) throws -> String {
  let encoder = JSONEncoder()
  encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
  // JSON has no infinities, and an error can be one.
  encoder.nonConformingFloatEncodingStrategy = .convertToString(
    positiveInfinity: "Infinity", negativeInfinity: "-Infinity", nan: "NaN")
  return String(decoding: try encoder.encode(value), as: UTF8.self)
}

/// A table in Markdown, its first row the names of the columns.
package func markdownTable(_ rows: [[String]]) -> String {
  let rule = rows[0].map { _ in "---" }
  return ([rows[0], rule] + rows.dropFirst()).map { "| \($0.joined(separator: " | ")) |" }
    .joined(separator: "\n")
}

/// A text as a cell of a CSV file.
package func csvCell(_ text: String) -> String {
  guard text.contains(where: { "\",\n\r".contains($0) }) else { return text }
  return "\""
    + text.split(separator: "\"", omittingEmptySubsequences: false).joined(separator: "\"\"")
    + "\""
}
