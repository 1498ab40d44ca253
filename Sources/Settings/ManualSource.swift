import ArgumentParser
import FoundationEssentials
import Reporting

/// The description of all commands from which `generate-manual` of the argument parser makes man
/// pages: the parser's own, with what that tool would leave out put into the sentences.
///
/// It prints neither defaults nor the values that an option takes, and drops characters that are
/// not ASCII.
package enum ManualSource {
  /// With this argument alone the tool runs gyre to get the description.
  package static let argument = "--experimental-dump-help"

  /// The description in JSON.
  ///
  /// - Parameter dump: what `_dumpHelp` of the outermost command gives.
  package static func description(of dump: String) throws -> String {
    let dump = try JSONValue(parsing: dump.utf8)
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
    return String(decoding: try encoder.encode(completed(dump)), as: UTF8.self)
  }

  private static func completed(_ value: JSONValue) -> JSONValue {
    switch value {
    case .string(let text): return .string(inASCII(text))
    case .array(let values): return .array(values.map(completed))
    case .object(var object):
      if let abstract = object["abstract"]?.word, object["kind"] != nil {
        object["abstract"] = .string(abstract + defaults(object, besides: abstract))
        // With values the tool leaves room for descriptions of each, of which there are none.
        object["allValues"] = nil
      }
      return .object(object.mapValues(completed))
    case .null, .bool, .integer, .unsigned, .number: return value
    }
  }

  /// What an argument takes and what it is without, unless its sentence says so.
  private static func defaults(_ argument: [String: JSONValue], besides abstract: String) -> String
  {
    var parts: [String] = []
    if case .array(let values) = argument["allValues"] {
      parts.append("values: " + values.compactMap(\.word).joined(separator: ", "))
    }
    if let value = argument["defaultValue"]?.word, !abstract.contains("(default: ") {
      parts.append("default: " + value)
    }
    return parts.isEmpty ? "" : " (\(parts.joined(separator: "; ")))"
  }

  private static func inASCII(_ text: String) -> String {
    let words: [Character: String] = [
      "×": "x", "·": "*", "√": "sqrt ", "…": "...", "–": "-", "—": "-", "−": "-", "′": "'",
      "≤": "<=", "≥": ">=", "→": "->", "²": "^2", "“": "\"", "”": "\"", "’": "'",
    ]
    // Formatters warn of empty lines; an indented one starts a paragraph as well.
    return text.map { words[$0] ?? String($0) }.joined().replacing("\n\n", with: "\n  ")
  }
}
