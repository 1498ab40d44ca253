import ArgumentParser
import Attention

/// How a table of results is printed.
enum TableFormat: String, CaseIterable, ExpressibleByArgument {
  case text, json, jsonl, csv, markdown
}

/// What is measured.
enum KernelPass: String, CaseIterable, Encodable {
  case forward, backward
}

/// `--causal both|true|false`.
enum CausalChoice: String, CaseIterable, ExpressibleByArgument {
  case both
  case yes = "true"
  case no = "false"

  var values: [Bool] {
    switch self {
    case .both: [false, true]
    case .yes: [true]
    case .no: [false]
    }
  }
}

/// Parses `64,128`.
func parseIntegers(_ text: String, in range: ClosedRange<Int>) throws -> [Int] {
  let numbers = text.split(separator: ",", omittingEmptySubsequences: false).map { Int($0) }
  guard numbers.allSatisfy({ $0.map(range.contains) ?? false }) else {
    throw ValidationError(
      "give whole numbers from \(range.lowerBound) to \(range.upperBound), joined by commas.")
  }
  return numbers.compactMap { $0 }
}

/// Parses `f32,bf16`.
func parseNames<Name: RawRepresentable & CaseIterable>(
  _ text: String, of type: Name.Type
) throws -> [Name] where Name.RawValue == String {
  try text.split(separator: ",", omittingEmptySubsequences: false).map {
    guard let name = Name(rawValue: String($0)) else {
      throw unknownName(String($0), among: Name.allCases.map(\.rawValue))
    }
    return name
  }
}

/// The error that a list of names has one that is not known.
func unknownName(_ name: String, among known: [String]) -> ValidationError {
  let near = likelyName(for: name.lowercased(), among: known).map { "; do you mean '\($0)'?" }
  return ValidationError(
    "give names of \(known.joined(separator: ", ")), joined by commas\(near ?? ".")")
}
