/// Where parcels of a block, or of its result, lie in memory: one after the other, without those
/// that are not there.
struct ParcelLayout {
  /// For each parcel where it begins, and the end.
  private var ends: [Int] = [0]

  /// - Parameters:
  ///   - parcels: all of the block.
  ///   - sizes: for each run of the block, its bytes.
  ///   - isThere: whether a parcel is.
  init(_ parcels: [Parcel], sizes: [Int], where isThere: (Parcel) -> Bool = { _ in true }) {
    for parcel in parcels {
      let size = isThere(parcel) ? sizes[parcel.runs].reduce(0, +) : 0
      ends.append(ends[ends.count - 1] + size)
    }
  }

  /// All bytes.
  var byteCount: Int { ends[ends.count - 1] }

  /// The bytes of some neighbouring parcels.
  subscript(stretch: Range<Int>) -> Range<Int> {
    ends[stretch.lowerBound]..<ends[stretch.upperBound]
  }

  /// The bytes of one.
  subscript(parcel: Int) -> Range<Int> { ends[parcel]..<ends[parcel + 1] }
}
