import Attention

/// The fields of rows about attention, which have those of its masks beside them.
protocol PatternedFields: Encodable {
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
  static var columns: [String] { table(of: [])[0] }
  static func remarks(on rows: [WithPattern<Self>]) -> [String] { [] }
}

extension WithPattern: BenchResult where Fields: PatternedFields {
  static var benchmark: String { Fields.benchmark }
  static var keys: [String] { Fields.keys }
  static var figures: [String] { Fields.figures }
  static var columns: [String] { Fields.columns }
  static var keyColumns: Int { Fields.keyColumns }
  static var dispensableColumns: [String] { Fields.dispensableColumns }
  static func table(of results: [Self]) -> [[String]] { Fields.table(of: results) }
  static func remarks(on results: [Self]) -> [String] { Fields.remarks(on: results) }
}
