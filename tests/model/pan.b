	switch (t->back) {
	default: Uerror("bad return move");
	case  0: goto R999; /* nothing to undo */

		 /* CLAIM settles */
;
		;
		
	case 4: // STATE 6
		;
		p_restor(II);
		;
		;
		goto R999;

		 /* PROC daemon */
;
		;
		;
		;
		
	case 7: // STATE 2
		;
		now.disk = trpt->bup.oval;
		;
		goto R999;

	case 8: // STATE 3
		;
		now.word = trpt->bup.oval;
		;
		goto R999;
;
		;
		;
		;
		
	case 11: // STATE 8
		;
		_m = unsend(now.qmp);
		;
		goto R999;
;
		;
		
	case 13: // STATE 10
		;
		_m = unsend(now.qmp);
		;
		goto R999;
;
		;
		
	case 15: // STATE 12
		;
		now.held = trpt->bup.oval;
		;
		goto R999;

	case 16: // STATE 13
		;
		now.word = trpt->bup.oval;
		;
		goto R999;
;
		;
		;
		;
		
	case 19: // STATE 17
		;
		_m = unsend(now.qmp);
		;
		goto R999;

	case 20: // STATE 21
		;
		_m = unsend(now.qmp);
		;
		goto R999;
;
		;
		
	case 22: // STATE 23
		;
		now.word = trpt->bup.oval;
		;
		goto R999;
;
		;
		;
		;
		
	case 25: // STATE 27
		;
		_m = unsend(now.qmp);
		;
		goto R999;

	case 26: // STATE 31
		;
		_m = unsend(now.qmp);
		;
		goto R999;
;
		;
		;
		;
		
	case 29: // STATE 34
		;
		now.disk = trpt->bup.oval;
		;
		goto R999;

	case 30: // STATE 35
		;
		now.word = trpt->bup.oval;
		;
		goto R999;
;
		;
		
	case 32: // STATE 47
		;
	/* 0 */	((P4 *)_this)->lost = trpt->bup.ovals[1];
		XX = 1;
		unrecv(now.qmp, XX-1, 0, ((P4 *)_this)->lost, 1);
		((P4 *)_this)->lost = trpt->bup.ovals[0];
		;
		;
		ungrab_ints(trpt->bup.ovals, 2);
		goto R999;
;
		;
		
	case 34: // STATE 53
		;
		now.up = trpt->bup.oval;
		;
		goto R999;

	case 35: // STATE 56
		;
		p_restor(II);
		;
		;
		goto R999;

		 /* PROC killer */

	case 36: // STATE 3
		;
		now.up = trpt->bup.ovals[1];
		now.kills = trpt->bup.ovals[0];
		;
		ungrab_ints(trpt->bup.ovals, 2);
		goto R999;

	case 37: // STATE 6
		;
		now.alive = trpt->bup.oval;
		;
		goto R999;
;
		;
		
	case 39: // STATE 14
		;
		p_restor(II);
		;
		;
		goto R999;

		 /* PROC qemu */
;
		;
		
	case 41: // STATE 5
		;
		now.target_whole = trpt->bup.ovals[1];
		now.job = trpt->bup.ovals[0];
		;
		ungrab_ints(trpt->bup.ovals, 2);
		goto R999;

	case 42: // STATE 8
		;
		now.target_whole = trpt->bup.oval;
		;
		goto R999;

	case 43: // STATE 11
		;
		now.job = trpt->bup.oval;
		;
		goto R999;
;
		;
		
	case 45: // STATE 14
		;
		XX = 1;
		unrecv(now.qmp, XX-1, 0, ((P2 *)_this)->command, 1);
		((P2 *)_this)->command = trpt->bup.oval;
		;
		;
		goto R999;

	case 46: // STATE 16
		;
		now.job = trpt->bup.ovals[1];
	/* 0 */	((P2 *)_this)->command = trpt->bup.ovals[0];
		;
		;
		ungrab_ints(trpt->bup.ovals, 2);
		goto R999;
;
		
	case 47: // STATE 32
		goto R999;

	case 48: // STATE 18
		;
		now.completing = trpt->bup.ovals[1];
	/* 0 */	((P2 *)_this)->command = trpt->bup.ovals[0];
		;
		;
		ungrab_ints(trpt->bup.ovals, 2);
		goto R999;

	case 49: // STATE 20
		;
		now.vcpus = trpt->bup.ovals[1];
	/* 0 */	((P2 *)_this)->command = trpt->bup.ovals[0];
		;
		;
		ungrab_ints(trpt->bup.ovals, 2);
		goto R999;

	case 50: // STATE 23
		;
		now.root = trpt->bup.ovals[2];
		now.job = trpt->bup.ovals[1];
	/* 0 */	((P2 *)_this)->command = trpt->bup.ovals[0];
		;
		;
		ungrab_ints(trpt->bup.ovals, 3);
		goto R999;

	case 51: // STATE 25
		;
		now.job = trpt->bup.ovals[1];
	/* 0 */	((P2 *)_this)->command = trpt->bup.ovals[0];
		;
		;
		ungrab_ints(trpt->bup.ovals, 2);
		goto R999;

	case 52: // STATE 27
		;
		now.vcpus = trpt->bup.ovals[1];
	/* 0 */	((P2 *)_this)->command = trpt->bup.ovals[0];
		;
		;
		ungrab_ints(trpt->bup.ovals, 2);
		goto R999;

	case 53: // STATE 29
		;
		now.job = trpt->bup.ovals[1];
	/* 0 */	((P2 *)_this)->command = trpt->bup.ovals[0];
		;
		;
		ungrab_ints(trpt->bup.ovals, 2);
		goto R999;
;
		;
		
	case 55: // STATE 39
		;
		p_restor(II);
		;
		;
		goto R999;

		 /* PROC administrator */

	case 56: // STATE 3
		;
		now.user_paused = trpt->bup.ovals[1];
		now.vcpus = trpt->bup.ovals[0];
		;
		ungrab_ints(trpt->bup.ovals, 2);
		goto R999;
;
		;
		
	case 58: // STATE 8
		;
		p_restor(II);
		;
		;
		goto R999;

		 /* PROC guest */
;
		;
		
	case 60: // STATE 3
		;
		now.target_whole = trpt->bup.oval;
		;
		goto R999;
;
		
	case 61: // STATE 7
		goto R999;

	case 62: // STATE 5
		;
		source_whole = trpt->bup.oval;
		;
		goto R999;
;
		;
		;
		;
		
	case 65: // STATE 16
		;
		p_restor(II);
		;
		;
		goto R999;
	}

