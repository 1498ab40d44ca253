package import Attention
import Reporting
import Results

/// The fields of rows about attention, which have those of its masks beside them.
package protocol PatternedFields: Encodable {
  /// As of a ``BenchResult``.
  static var benchmark: String { get }
  /// As of a ``BenchResult``, those of masks among them.
  static var keys: [String] { get }
  /// As of a ``BenchResult``.
  static var figures: [String] { get }
  /// As of a ``BenchResult``.
  static var columns: [String] { get }
  /// As of a ``BenchResult``.
  static var keyColumns: Int { get }
  /// As of a ``BenchResult``.
  static var dispensableColumns: [String] { get }
  /// As of a ``BenchResult``.
  static func table(of rows: [WithPattern<Self>]) -> [[String]]
  /// As of a ``BenchResult``.
  static func remarks(on rows: [WithPattern<Self>]) -> [String]
}

extension PatternedFields {
  package static var columns: [String] { table(of: [])[0] }
  package static func remarks(on rows: [WithPattern<Self>]) -> [String] { [] }
}

extension WithPattern: BenchResult where Fields: PatternedFields {
  package static var benchmark: String { Fields.benchmark }
  package static var keys: [String] { Fields.keys }
  package static var figures: [String] { Fields.figures }
  package static var columns: [String] { Fields.columns }
  package static var keyColumns: Int { Fields.keyColumns }
  package static var dispensableColumns: [String] { Fields.dispensableColumns }
  package static func table(of results: [Self]) -> [[String]] { Fields.table(of: results) }
  package static func remarks(on results: [Self]) -> [String] { Fields.remarks(on: results) }
}
