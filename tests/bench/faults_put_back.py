"""Faults of tests/FAULTS.md as changes of the code of today, each with the tests that must fail on it; run by `put_back`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Fault:
    """One fault."""

    row: str
    """Number in tests/FAULTS.md."""
    what: str
    file: str
    now: str
    """A text that stands in the file once."""
    before: str
    """What stands there with the fault."""
    tests: tuple[str, ...]
    """Below tests/, as pytest takes them."""


FAULTS = (
    Fault(
        "3c", "a file for each content", "pipeline/execution/cache.py",
        '        self._put("stages", work_key, _sealed(payload, work_key, b"stages"))\n',
        '        self._put("stages", work_key, _sealed(payload, work_key, b"stages"))\n'
        '        file = Path(self.db.execute("PRAGMA database_list").fetchone()[2])\n'
        '        file.with_name(f"log{_place(work_key)}").write_bytes(payload)\n',
        ("pipeline/building/test_memory.py::test_the_state_is_of_a_few_files_whatever_the_number_of_pictures",),
    ),
    Fault(
        "3c", "rows hold id and digest again", "pipeline/building/memory/tables.py",
        "    is_bare = bare != text and _filled(bare, id, sha256) == text\n", "    is_bare = False\n",
        ("pipeline/building/test_memory.py::test_a_packed_row_of_a_refused_picture_does_without_what_the_tables_hold",),
    ),
    Fault(
        "5b", "surrogates pass as text", "datasets/sources/tars.py",
        "        strange = next((name for name, value in texts.items() if not is_text(value)), \"\")\n",
        '        strange = ""\n',
        ("datasets/sources/test_archive.py::test_a_bad_record_refuses_its_own_picture_and_no_other",),
    ),
    Fault(
        "5b", "JSON that is nested deeply stops the run", "datasets/sources/outside_json.py",
        "    except RecursionError as error:\n", "    except ZeroDivisionError as error:\n",
        (
            "datasets/sources/test_archive.py::test_a_bad_record_refuses_its_own_picture_and_no_other",
            "datasets/sources/test_archive.py::test_a_bad_camera_is_a_named_refusal",
            "datasets/sources/test_outside_tables.py::test_a_bad_camera_in_a_cell_refuses_its_own_photograph",
        ),
    ),
    Fault(
        "5b", "integers of 400 digits stop the run", "datasets/sources/outside_json.py",
        "    return int(digits) if len(digits) < 300 else float(digits)\n", "    return float(int(digits))\n",
        ("datasets/sources/test_archive.py::test_a_bad_camera_is_a_named_refusal",
         "datasets/sources/test_outside_tables.py::test_a_bad_camera_in_a_cell_refuses_its_own_photograph"),
    ),
    Fault(
        "6", "three channels are assumed", "datasets/images/decode.py",
        "        stored = float(depth * (header.channels + alpha))\n", "        stored = 3.0\n",
        ("datasets/images/test_memory.py::test_channels_depth_and_copies_are_counted",),
    ),
    Fault(
        "6", "three bytes a pixel are assumed", "datasets/images/decode.py",
        "    return len(data) + round(header.width * header.height * _bytes_a_pixel(header))\n",
        "    return len(data) + 3 * header.width * header.height\n",
        (
            "datasets/images/test_memory.py::test_some_formats_stay_below_what_they_ask_for",
            "datasets/images/test_memory.py::test_a_picture_beyond_the_budget_is_refused_before_it_is_decoded",
        ),
    ),
    Fault(
        "6b", "a circle of run and photograph", "pipeline/execution/file_run.py",
        "        photo = Photo(self.task.image, self.sha256, info, load)\n",
        "        load.run = self\n        photo = Photo(self.task.image, self.sha256, info, load)\n",
        ("pipeline/execution/test_worker.py::test_neither_a_file_nor_its_pixels_wait_for_the_collector",),
    ),
    Fault(
        "6b", "a circle of a TIFF's pages and file", "datasets/images/tiff_pixels.py",
        "    with io.BytesIO(data) as stream, _opened(stream) as file:\n",
        "    for file in [_opened(io.BytesIO(data))]:\n",
        ("pipeline/execution/test_worker.py::test_neither_a_file_nor_its_pixels_wait_for_the_collector",),
    ),
    Fault(
        "7a", "work in hand is waited for without end", "manifests/signals.py",
        "            signal.setitimer(signal.ITIMER_REAL, self._grace, _UNWIND_SECONDS)\n", "            pass\n",
        ("manifests/test_signals.py::test_an_order_to_stop_is_not_lost",),
    ),
    Fault(
        "7a", "packing ignores signals", "pipeline/building/build.py",
        "    def _check(self) -> None:\n        self.signals.check()\n", "    def _check(self) -> None:\n",
        ("pipeline/building/test_build_faults.py::test_a_signal_in_any_phase_stops_the_build_and_is_told",),
    ),
    Fault(
        "7a", "a stopped build ends with 1", "cli.py",
        "        return 128 + int(error.signum), str(error)\n", "        return INTERNAL, str(error)\n",
        ("test_cli.py::test_interrupted_builds_have_the_codes_of_their_signals",
         "test_cli.py::test_signal_stops_a_build_cleanly_and_the_same_line_finishes_it"),
    ),
    Fault(
        "8a", "a full disk is told in SQLite's words", "pipeline/execution/database.py",
        "    if kind == sqlite3.SQLITE_FULL:\n", "    if False:\n",
        ("pipeline/building/test_build_faults.py::test_a_full_disk_under_a_database_is_told_and_leaves_no_half_set",),
    ),
    Fault(
        "8a", "errors of the system are told without path", "manifests/faults.py",
        "    return OSError(error.errno, error.strerror or str(error), os.fspath(path))\n",
        "    return OSError(error.errno, error.strerror or str(error))\n",
        (
            "pipeline/building/test_build_faults.py::test_a_failing_system_call_leaves_no_half_set[28-fsync]",
            "pipeline/building/test_failing_calls.py::test_writes_that_fail_are_told_with_their_file_and_the_next_build_makes_the_same_set",
        ),
    ),
    Fault(
        "8a", "errors of the system are told without advice", "manifests/faults.py",
        '    remedy = _REMEDIES.get(error.errno or 0, "")\n', '    remedy = ""\n',
        ("manifests/test_faults.py::test_a_fault_of_the_system_is_told_with_its_file_its_name_and_what_to_do",),
    ),
    Fault(
        "8d", "a surviving rank speaks in its library's words", "model/train/distributed.py",
        "    except RuntimeError as error:\n        said", "    except ZeroDivisionError as error:\n        said",
        ("model/train/test_distributed.py::test_a_process_that_survives_another_says_so_in_one_line",),
    ),
    Fault(
        "8f", "a file that cannot be renamed is passed over", "manifests/store.py",
        "        aside.replace(path)\n", "        with contextlib.suppress(OSError):\n            aside.replace(path)\n",
        ("pipeline/building/test_failing_calls.py::test_no_call_that_fails_once_leaves_a_half_set",),
    ),
    Fault(
        "9b", "a table of another set is taken", "manifests/store.py",
        "    if digest != header.manifest_sha256:\n", "    if False:\n",
        ("manifests/test_summary.py::test_a_table_of_another_set_is_not_summed_up",
         "datasets/report/test_report.py::test_a_table_of_another_set_is_not_reported"),
    ),
    Fault(
        "10a", "names are taken as the locale has them", "datasets/sources/names.py",
        "    return os.fsdecode(to_bytes(name))\n", "    return name\n",
        ("pipeline/building/test_sources_built.py::test_names_of_any_bytes_are_built_and_taken_down_in_every_locale[ASCII]",),
    ),
    Fault(
        "10a", "tables take only UTF-8", "pipeline/building/commit.py",
        "    except UnicodeEncodeError:\n", "    except ZeroDivisionError:\n",
        ("pipeline/building/test_sources_built.py::test_names_of_any_bytes_are_built_and_taken_down_in_every_locale[UTF-8]",
         "pipeline/building/test_sources_built.py::test_a_name_as_the_origins_table_shows_it_can_be_taken_down"),
    ),
    Fault(
        "12a", "bytes are not budgeted", "model/interop/limits.py",
        "        self.bytes_left -= num_bytes\n", "",
        ("model/test_hostile_checkpoints.py::test_bytes_that_are_built_are_limited_by_the_size_of_the_file",),
    ),
    Fault(
        "12a", "nobody looks at the clock", "model/interop/limits.py",
        "        if time.thread_time() - self._begun > self.seconds:\n", "        if False:\n",
        ("model/test_hostile_checkpoints.py::test_the_clock_ends_what_steps_and_bytes_allow",),
    ),
    Fault(
        "12a", "a half-made folder is left", "model/store.py",
        "        shutil.rmtree(aside, ignore_errors=True)\n", "",
        ("model/test_hostile_checkpoints.py::test_a_disk_that_fails_leaves_nothing",),
    ),
    Fault(
        "12d", "names of absent modules are not counted", "model/interop/networks.py",
        "        num_names += len(modules)\n", "",
        ("model/test_hostile_checkpoints.py::test_small_files_that_ask_for_much_are_refused_soon",),
    ),
    Fault(
        "12d", "one mapping is looked at under each of its names", "model/interop/networks.py",
        "    return {id(item): item for item in mapping.values()}.values()\n", "    return mapping.values()\n",
        ("model/test_hostile_checkpoints.py::test_small_files_that_ask_for_much_are_refused_soon",),
    ),
    Fault(
        "13a", "room for two checkpoints", "model/train/trainer.py",
        "    more = max(settings.keep + 1 - there, 1)\n", "    more = 2\n",
        ("model/train/test_trainer.py::test_a_run_begins_only_where_every_checkpoint_it_holds_has_room",),
    ),
    Fault(
        "13b", "a plan takes six micro-batches whatever they take", "model/train/plan.py",
        "        if time.perf_counter() - begun > SECONDS:\n", "        if False:\n",
        ("model/train/test_progress.py::test_a_plan_takes_one_micro_batch_where_that_is_all_there_is_time_for",),
    ),
    Fault(
        "13c", "a run is no model", "model/export/generate.py",
        "    if (run / CHECKPOINTS).is_dir():\n", "    if False:\n",
        ("model/train/test_trainer.py::test_a_runs_newest_model_is_shown_as_it_is_generated_from",),
    ),
    Fault(
        "13c", "--no-parsing leaves nothing out", "commands/training.py",
        "    return with_assignments(config if parsing else without_parsing(config), assignments)\n",
        "    return with_assignments(config, assignments)\n",
        ("model/train/test_trainer.py::test_data_without_class_maps_train_where_parsing_is_left_out",),
    ),
    Fault(
        "13c", "presets are not listed", "commands/heads.py",
        "    for name in PRESETS:\n", "    for name in list(PRESETS)[:1]:\n",
        ("model/test_published_size.py::test_model_presets_are_listed",),
    ),
    Fault(
        "13c", "a bare state dict is refused", "model/interop/convert.py",
        "bare=like is not None)\n", "bare=False)\n",
        ("model/test_published_size.py::test_a_bare_state_dict_converts_like_a_preset[alone]",),
    ),
    Fault(
        "14", "the opposite turn is not tried", "pipeline/annotators/faces/upright.py",
        "    if best is None or best.score < max(SURE, score + MARGIN):\n", "    if True:\n",
        (
            "pipeline/stages/test_detect.py::test_a_turned_head_gets_an_upright_crop_or_a_refusal",
            "pipeline/stages/test_detect.py::test_an_upside_down_portrait_is_cut_out_upright",
            "pipeline/stages/test_estimate_camera.py::test_a_crop_that_shows_the_face_upside_down_is_refused",
        ),
    ),
    Fault(
        "15a", "a known label stays as it was", "pipeline/stages/estimate_camera.py",
        "            camera = camera.rolled(crop_turn(sample.crop.matrix))\n", "            pass\n",
        (
            "pipeline/stages/test_estimate_camera.py::test_a_known_camera_is_turned_as_the_crop_is",
            "pipeline/building/test_known_cameras.py::test_every_way_of_giving_a_photograph_its_camera_gives_the_same_label",
        ),
    ),
    Fault(
        "15a", "a known label is not compared with the mesh", "pipeline/stages/estimate_camera.py",
        "and off > SIDECAR_DISAGREEMENT_DEGREES:\n", "and False:\n",
        ("pipeline/stages/test_estimate_camera.py::test_a_known_camera_that_the_mesh_contradicts_is_refused_with_a_hint",),
    ),
    Fault(
        "15d", "labels of a dataset.json are no list", "datasets/sources/tables.py",
        '        if isinstance(data, dict) and "labels" in data:\n', "        if False:\n",
        ("pipeline/building/test_sources_built.py::test_eg3ds_dataset_json_is_a_list_of_aligned_pictures",),
    ),
    Fault(
        "16a", "every tar in a set's folder is taken for finished heads", "datasets/sources/finished.py",
        "    if header is None or tar.name not in {entry.name for entry in header.shards}:\n", "    if header is None:\n",
        ("datasets/sources/test_archive.py::test_only_what_a_manifest_lists_is_taken_for_a_finished_head",),
    ),
    Fault(
        "16a", "samples that no manifest lists are heads", "datasets/sources/tars.py",
        "        if digest is None or not suffix or len(members) > len(group.members):\n", "        if not suffix:\n",
        ("datasets/sources/test_archive.py::test_only_what_a_manifest_lists_is_taken_for_a_finished_head",),
    ),
    Fault(
        "16a", "pictures changed in place are heads", "datasets/sources/tars.py",
        "        if told and content_sha256(data) != told:\n", "        if False:\n",
        ("datasets/sources/test_archive.py::test_a_finished_picture_that_was_changed_in_place_is_refused",),
    ),
    Fault(
        "18b", "databases are opened as if they could be written", "pipeline/execution/database.py",
        "        if os.access(path.parent, os.W_OK) and os.access(path, os.W_OK) and _has_locks(path):\n", "        if True:\n",
        ("test_surroundings.py::test_commands_on_a_read_only_set_work_or_name_the_place[plan]",
         "pipeline/building/test_build_faults.py::test_plan_reads_a_memory_that_cannot_be_written"),
    ),
    Fault(
        "18c", "room in shared memory is not looked at", "datasets/streaming/slots.py",
        "    if num_bytes > free:\n", "    if False:\n",
        ("datasets/streaming/test_slots.py::test_too_little_shared_memory_is_told_with_the_remedy",),
    ),
    Fault(
        "18c", "absent shared memory is told in torch's words", "datasets/streaming/slots.py",
        "    except RuntimeError as error:\n", "    except ZeroDivisionError as error:\n",
        ("datasets/streaming/test_slots.py::test_absent_shared_memory_is_told_with_the_remedy",),
    ),
    Fault(
        "18c", "builds take a lock in shared memory", "pipeline/engines/local.py",
        "        self._started: list[ProcessHandle] = []\n",
        '        self._started: list[ProcessHandle] = []\n        multiprocessing.get_context("spawn").Lock()\n',
        ("test_surroundings.py::test_builds_need_no_shared_memory",),
    ),
    Fault(
        "18d", "closed streams stay closed", "cli.py",
        "            os.open(os.devnull, os.O_RDWR)\n", "            pass\n",
        ("test_surroundings.py::test_closed_streams_lead_to_nothing_so_that_no_file_takes_their_place",),
    ),
    Fault(
        "18d", "output is flushed at exit", "cli.py",
        "    return flushed(_run(list(sys.argv[1:] if arguments is None else arguments)))\n",
        "    return _run(list(sys.argv[1:] if arguments is None else arguments))\n",
        ("test_surroundings.py::test_commands_whose_output_nobody_takes_end_without_a_traceback",),
    ),
    Fault(
        "19a", "Arrow reads ahead in threads", "datasets/streaming/index.py",
        "    with pq.ParquetFile(file, pre_buffer=False) as parquet:\n"
        "        there = set(parquet.schema_arrow.names)\n"
        "        table = parquet.read(columns=[name for name in _COLUMNS if name in there], use_threads=False)\n",
        "    table = pq.read_table(file)\n    there = set(table.column_names)\n",
        ("datasets/shards/test_storage.py::test_reading_a_manifest_leaves_no_thread_that_could_abort_the_exit",),
    ),
    *(
        Fault("20", what, f"datasets/images/{file}", now, before, ("datasets/images/test_decode.py",))
        for what, file, now, before in (
            ("associated alpha stays multiplied in", "tiff_pixels.py",
             "    if alpha is not None and kind == ASSOCIATED:\n", "    if False:\n"),
            ("the first extra channel is alpha", "tiff_pixels.py",
             "    kind, place = _alpha_channel(directory, channels, samples)\n",
             "    kind, place = (UNASSOCIATED, channels) if samples > channels else (0, 0)\n"),
            ("channels beyond alpha are left to Pillow", "tiff_pixels.py",
             "    return header.bit_depth == 16 or directory.value(tiff.SAMPLES, 1) > most\n",
             "    return header.bit_depth == 16\n"),
            ("gAMA and cHRM are passed over", "png.py",
             "        return colour_space.of_gamma(self.gamma, self.chromaticities, grey)\n", '        return b""\n'),
            ("nclx is passed over", "formats.py", "    if colour.code_points is not None:\n", "    if False:\n"),
            ("a PNG's cICP is passed over", "png.py",
             "            self.code_points = (body[0], body[1])\n", "            pass\n"),
            ("XMP's orientation in a JPEG is passed over", "jpeg.py",
             "            self.xmp = self.xmp or orientation.of_xmp(body[len(_XMP) :])\n", "            pass\n"),
            ("XMP's orientation in a PNG is passed over", "png.py",
             "            self.xmp = self.xmp or orientation.of_xmp(_text(kind, rest))\n", "            pass\n"),
            ("XMP's orientation in a TIFF is passed over", "tiff_pixels.py",
             " or orientation.of_xmp(directory.raw(tiff.XMP)) or 1\n", " or 1\n"),
            ("XMP's orientation in others is passed over", "formats.py",
             '        found = orientation.of_xmp(_bytes(image, "xmp"))\n', "        found = 0\n"),
            ("ImageMagick's raw profiles are passed over", "png.py",
             "            self.raw_exif = self.raw_exif or orientation.of_exif(block)\n", ""),
            ("a bitmap's empty fourth byte is alpha", "decode.py",
             '    if most == 0 and header.format == "bmp":', "    if False:"),
        )
    ),
    Fault(
        "20", "profiles are passed over", "datasets/images/decode.py",
        "    if header.icc:\n        converted, flag", "    if False:\n        converted, flag",
        ("datasets/images/test_decode.py::test_every_file_gives_its_reason_or_its_pixels",),
    ),
)  # fmt: skip
