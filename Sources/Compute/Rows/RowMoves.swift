extension ThreadTeam {
  /// Copies some columns of rows to rows that have no others, on all threads.
  ///
  /// - Parameters:
  ///   - columns: of `rows`.
  ///   - rows: `[rows, width]`.
  ///   - bias: is added; one for each of the columns, or empty.
  ///   - target: `[rows, columns.count]`.
  public func copy(
    columns: Range<Int>, of rows: borrowing Span<Float>, width: Int, bias: borrowing Span<Float>,
    to target: inout MutableSpan<Float>
  ) {
    let (first, count) = (columns.lowerBound, columns.count)
    if count == 0 || target.count == 0 { return }
    precondition(
      rows.count % width == 0 && target.count == rows.count / width * count && first >= 0
        && columns.upperBound <= width && (bias.isEmpty || bias.count == count), "other rows")
    unsafe rows.withUnsafeBufferPointer { rows in
      unsafe target.withUnsafeMutableBufferPointer { target in
        unsafe bias.withUnsafeBufferPointer { bias in
          guard let from = rows.baseAddress, let to = target.baseAddress else { return }
          nonisolated(unsafe) let (source, result) = unsafe (from, to)
          nonisolated(unsafe) let addends = bias.isEmpty ? nil : bias.baseAddress
          forEachPart(of: rows.count / width, cost: count) { part in
            for row in part {
              let (a, b) = unsafe (source + row * width + first, result + row * count)
              if let addends = unsafe addends {
                for column in 0..<count { unsafe b[column] = a[column] + addends[column] }
              } else {
                unsafe b.update(from: a, count: count)
              }
            }
          }
        }
      }
    }
  }

  /// Adds the same numbers to each row, on all threads.
  ///
  /// - Parameter rows: `[rows, bias.count]`; of no bias nothing is added.
  public func add(bias: borrowing Span<Float>, to rows: inout MutableSpan<Float>) {
    let width = bias.count
    if width == 0 { return }
    precondition(rows.count % width == 0, "rows of another width")
    unsafe rows.withUnsafeMutableBufferPointer { rows in
      unsafe bias.withUnsafeBufferPointer { bias in
        guard let base = rows.baseAddress, let first = bias.baseAddress else { return }
        nonisolated(unsafe) let (all, addends) = unsafe (base, first)
        forEachPart(of: rows.count / width, cost: width) { part in
          for row in part {
            for column in 0..<width { unsafe all[row * width + column] += addends[column] }
          }
        }
      }
    }
  }

  /// Adds numbers to as many others, on all threads.
  public func add(_ source: borrowing Span<Float>, to target: inout MutableSpan<Float>) {
    precondition(source.count == target.count, "as many numbers")
    unsafe source.withUnsafeBufferPointer { source in
      unsafe target.withUnsafeMutableBufferPointer { target in
        guard let first = source.baseAddress, let place = target.baseAddress else { return }
        nonisolated(unsafe) let (from, to) = unsafe (first, place)
        forEachPart(of: source.count) { part in
          for index in part { unsafe to[index] += from[index] }
        }
      }
    }
  }
}
