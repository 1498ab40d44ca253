internal import COpenMPI

/// MPI's interface for tools, open for as long as this value lives.
///
/// C: `MPI_T_init_thread`, `MPI_T_finalize`, MPI 3.1 §14.3.4.
struct ToolsInterface: ~Copyable {
  /// Room for the longest names that there are.
  private static let nameCapacity = 1024

  /// Opens it; nil where the library has none.
  init?() {
    var provided: CInt = 0
    guard unsafe MPI_T_init_thread(CInt(MPI_THREAD_SINGLE), &provided) == MPI_SUCCESS else {
      return nil
    }
  }

  deinit { _ = MPI_T_finalize() }

  // MARK: Parameters

  /// The value of a parameter in words; nil where there is no such parameter.
  func value(of name: String) -> String? {
    var index: CInt = 0
    guard unsafe MPI_T_cvar_get_index(name, &index) == MPI_SUCCESS,
      let kind = unsafe kind(of: index)
    else { return nil }
    var handle: MPI_T_cvar_handle?
    var count: CInt = 0
    guard unsafe MPI_T_cvar_handle_alloc(index, nil, &handle, &count) == MPI_SUCCESS else {
      return nil
    }
    defer { _ = unsafe MPI_T_cvar_handle_free(&handle) }
    if unsafe kind.type == copenmpi_char() {
      // Open MPI 4.1 always tells 2048 and copies the whole text, however long that is.
      return unsafe textFromC(capacity: max(Int(count), 1 << 20)) { text in
        unsafe MPI_T_cvar_read(handle, text)
      }
    }
    // Open MPI 4.1 stores four bytes for a C_BOOL, which has one; nothing has more than eight.
    var bits: UInt64 = 0
    guard unsafe MPI_T_cvar_read(handle, &bits) == MPI_SUCCESS else { return nil }
    return unsafe text(of: bits, kind)
  }

  private func kind(of index: CInt) -> (type: MPI_Datatype?, choices: MPI_T_enum?)? {
    var (nameLength, descriptionLength) = (CInt(0), CInt(0))
    var (verbosity, binding, scope) = (CInt(0), CInt(0), CInt(0))
    var type: MPI_Datatype?
    var choices: MPI_T_enum?
    let code = unsafe MPI_T_cvar_get_info(
      index, nil, &nameLength, &verbosity, &type, &choices, nil, &descriptionLength, &binding,
      &scope)
    return unsafe code == MPI_SUCCESS ? (type, choices) : nil
  }

  private func text(
    of bits: UInt64, _ kind: (type: MPI_Datatype?, choices: MPI_T_enum?)
  ) -> String? {
    switch unsafe kind.type {
    case unsafe copenmpi_c_bool(): bits == 0 ? "false" : "true"
    case unsafe copenmpi_int():
      unsafe name(of: CInt(truncatingIfNeeded: bits), in: kind.choices)
        ?? "\(CInt(truncatingIfNeeded: bits))"
    case unsafe copenmpi_unsigned(): "\(UInt32(truncatingIfNeeded: bits))"
    case unsafe copenmpi_unsigned_long(), unsafe copenmpi_unsigned_long_long(): "\(bits)"
    case unsafe copenmpi_double(): "\(Double(bitPattern: bits))"
    default: nil
    }
  }

  private func name(of value: CInt, in choices: MPI_T_enum?) -> String? {
    guard unsafe choices != copenmpi_enum_null() else { return nil }
    var (count, length) = (CInt(0), CInt(0))
    guard unsafe MPI_T_enum_get_info(choices, &count, nil, &length) == MPI_SUCCESS else {
      return nil
    }
    for index in 0..<count {
      var item: CInt = 0
      let name = unsafe Self.name {
        _ = unsafe MPI_T_enum_get_item(choices, index, &item, $0, $1)
      }
      if item == value { return name }
    }
    return nil
  }

  // MARK: Components

  /// The components of a framework whose parameters there are.
  func components(of framework: String) -> [String] {
    var count: CInt = 0
    guard unsafe MPI_T_category_get_num(&count) == MPI_SUCCESS else { return [] }
    var names: [String] = []
    for index in 0..<count {
      var (length, variables, performance, categories) = (CInt(0), CInt(0), CInt(0), CInt(0))
      var code: CInt = 0
      let name = unsafe Self.name {
        // The category of a closed component stays, and is an error to ask for.
        code = unsafe MPI_T_category_get_info(
          index, $0, $1, nil, &length, &variables, &performance, &categories)
      }
      // Named project_framework_component; only the last may have an underscore of its own.
      let words = name.split(separator: "_", maxSplits: 2)
      guard code == MPI_SUCCESS, variables > 0, words.count == 3, words[1] == framework,
        words[2] != "base"
      else { continue }
      names.append(String(words[2]))
    }
    return names.sorted()
  }

  /// The name that a function writes into the room whose size it is told.
  private static func name(
    _ write: (UnsafeMutablePointer<CChar>, UnsafeMutablePointer<CInt>) -> Void
  ) -> String {
    unsafe textFromC(capacity: nameCapacity) { text in
      var length = CInt(nameCapacity)
      unsafe write(text, &length)
    }
  }
}
