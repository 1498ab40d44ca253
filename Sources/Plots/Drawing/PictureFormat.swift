/// What kind of file a figure becomes.
enum PictureFormat: String, CaseIterable {
  case svg, png, pdf

  /// By the ending of a file's name; nil for any other.
  init?(fileName: String) {
    guard let dot = fileName.lastIndex(of: ".") else { return nil }
    self.init(rawValue: fileName[fileName.index(after: dot)...].lowercased())
  }

  /// What follows `set terminal`.
  func terminal(width: Double, height: Double, _ background: String) -> String {
    let (w, h) = (Int(width), Int(height))
    // Texts are plain everywhere: an underscore is one.
    return switch self {
    case .svg: "svg size \(w),\(h) noenhanced font \"Arial,13\" background \"\(background)\""
    // Twice as fine, for screens and print.
    case .png:
      "pngcairo size \(2 * w),\(2 * h) fontscale 1.5 linewidth 2 pointscale 2 noenhanced "
        + "font \"Arial,13\" background \"\(background)\""
    case .pdf:
      "pdfcairo size \(width / 96)in,\(height / 96)in fontscale 0.72 linewidth 1 pointscale 0.8 "
        + "noenhanced font \"Arial,13\" background \"\(background)\""
    }
  }
}
