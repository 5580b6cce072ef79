#define rand	pan_rand
#define pthread_equal(a,b)	((a)==(b))
#if defined(HAS_CODE) && defined(VERBOSE)
	#ifdef BFS_PAR
		bfs_printf("Pr: %d Tr: %d\n", II, t->forw);
	#else
		cpu_printf("Pr: %d Tr: %d\n", II, t->forw);
	#endif
#endif
	switch (t->forw) {
	default: Uerror("bad forward move");
	case 0:	/* if without executable clauses */
		continue;
	case 1: /* generic 'goto' or 'skip' */
		IfNotBlocked
		_m = 3; goto P999;
	case 2: /* generic 'else' */
		IfNotBlocked
		if (trpt->o_pm&1) continue;
		_m = 3; goto P999;

		 /* CLAIM settles */
	case 3: // STATE 1 - _spin_nvr.tmp:4 - [(!(((word==ended)&&(!(alive)||((job==nothing)&&(vcpus||user_paused))))))] (0:0:0 - 1)
		
#if defined(VERI) && !defined(NP)
#if NCLAIMS>1
		{	static int reported1 = 0;
			if (verbose && !reported1)
			{	int nn = (int) ((Pclaim *)pptr(0))->_n;
				printf("depth %ld: Claim %s (%d), state %d (line %d)\n",
					depth, procname[spin_c_typ[nn]], nn, (int) ((Pclaim *)pptr(0))->_p, src_claim[ (int) ((Pclaim *)pptr(0))->_p ]);
				reported1 = 1;
				fflush(stdout);
		}	}
#else
		{	static int reported1 = 0;
			if (verbose && !reported1)
			{	printf("depth %d: Claim, state %d (line %d)\n",
					(int) depth, (int) ((Pclaim *)pptr(0))->_p, src_claim[ (int) ((Pclaim *)pptr(0))->_p ]);
				reported1 = 1;
				fflush(stdout);
		}	}
#endif
#endif
		reached[5][1] = 1;
		if (!( !(((now.word==8)&&( !(((int)now.alive))||((now.job==5)&&(((int)now.vcpus)||((int)now.user_paused))))))))
			continue;
		_m = 3; goto P999; /* 0 */
	case 4: // STATE 6 - _spin_nvr.tmp:6 - [-end-] (0:0:0 - 1)
		
#if defined(VERI) && !defined(NP)
#if NCLAIMS>1
		{	static int reported6 = 0;
			if (verbose && !reported6)
			{	int nn = (int) ((Pclaim *)pptr(0))->_n;
				printf("depth %ld: Claim %s (%d), state %d (line %d)\n",
					depth, procname[spin_c_typ[nn]], nn, (int) ((Pclaim *)pptr(0))->_p, src_claim[ (int) ((Pclaim *)pptr(0))->_p ]);
				reported6 = 1;
				fflush(stdout);
		}	}
#else
		{	static int reported6 = 0;
			if (verbose && !reported6)
			{	printf("depth %d: Claim, state %d (line %d)\n",
					(int) depth, (int) ((Pclaim *)pptr(0))->_p, src_claim[ (int) ((Pclaim *)pptr(0))->_p ]);
				reported6 = 1;
				fflush(stdout);
		}	}
#endif
#endif
		reached[5][6] = 1;
		if (!delproc(1, II)) continue;
		_m = 3; goto P999; /* 0 */

		 /* PROC daemon */
	case 5: // STATE 1 - pivot.pml:94 - [(!(alive))] (0:0:0 - 1)
		IfNotBlocked
		reached[4][1] = 1;
		if (!( !(((int)now.alive))))
			continue;
		_m = 3; goto P999; /* 0 */
	case 6: // STATE 42 - pivot.pml:129 - [(!(up))] (0:0:0 - 28)
		IfNotBlocked
		reached[4][42] = 1;
		if (!( !(((int)now.up))))
			continue;
		_m = 3; goto P999; /* 0 */
	case 7: // STATE 2 - pivot.pml:94 - [disk = ( ((word==decided)) -> (target) : (source) )] (0:0:1 - 1)
		IfNotBlocked
		reached[4][2] = 1;
		(trpt+1)->bup.oval = now.disk;
		now.disk = ( ((now.word==10)) ? (6) : (7) );
#ifdef VAR_RANGES
		logval("disk", now.disk);
#endif
		;
		_m = 3; goto P999; /* 0 */
	case 8: // STATE 3 - pivot.pml:94 - [word = ended] (0:0:1 - 1)
		IfNotBlocked
		reached[4][3] = 1;
		(trpt+1)->bup.oval = now.word;
		now.word = 8;
#ifdef VAR_RANGES
		logval("word", now.word);
#endif
		;
		_m = 3; goto P999; /* 0 */
	case 9: // STATE 5 - pivot.pml:95 - [((word==ended))] (0:0:0 - 1)
		IfNotBlocked
		reached[4][5] = 1;
		if (!((now.word==8)))
			continue;
		_m = 3; goto P999; /* 0 */
	case 10: // STATE 7 - pivot.pml:96 - [((((alive&&empty(qmp))&&(word==undecided))&&(job==nothing)))] (0:0:0 - 1)
		IfNotBlocked
		reached[4][7] = 1;
		if (!((((((int)now.alive)&&(q_len(now.qmp)==0))&&(now.word==11))&&(now.job==5))))
			continue;
		_m = 3; goto P999; /* 0 */
	case 11: // STATE 8 - pivot.pml:96 - [qmp!start] (0:0:0 - 1)
		IfNotBlocked
		reached[4][8] = 1;
		if (q_full(now.qmp))
			continue;
#ifdef HAS_CODE
		if (readtrail && gui) {
			char simtmp[64];
			sprintf(simvals, "%d!", now.qmp);
		sprintf(simtmp, "%d", 17); strcat(simvals, simtmp);		}
#endif
		
		qsend(now.qmp, 0, 17, 1);
		_m = 2; goto P999; /* 0 */
	case 12: // STATE 9 - pivot.pml:97 - [(((((alive&&empty(qmp))&&(word==undecided))&&(job==ready))&&!(completing)))] (0:0:0 - 1)
		IfNotBlocked
		reached[4][9] = 1;
		if (!(((((((int)now.alive)&&(q_len(now.qmp)==0))&&(now.word==11))&&(now.job==3))&& !(((int)now.completing)))))
			continue;
		_m = 3; goto P999; /* 0 */
	case 13: // STATE 10 - pivot.pml:97 - [qmp!complete] (0:0:0 - 1)
		IfNotBlocked
		reached[4][10] = 1;
		if (q_full(now.qmp))
			continue;
#ifdef HAS_CODE
		if (readtrail && gui) {
			char simtmp[64];
			sprintf(simvals, "%d!", now.qmp);
		sprintf(simtmp, "%d", 16); strcat(simvals, simtmp);		}
#endif
		
		qsend(now.qmp, 0, 16, 1);
		_m = 2; goto P999; /* 0 */
	case 14: // STATE 11 - pivot.pml:98 - [((((alive&&empty(qmp))&&(word==undecided))&&(job==pending)))] (0:0:0 - 1)
		IfNotBlocked
		reached[4][11] = 1;
		if (!((((((int)now.alive)&&(q_len(now.qmp)==0))&&(now.word==11))&&(now.job==2))))
			continue;
		_m = 3; goto P999; /* 0 */
	case 15: // STATE 12 - pivot.pml:100 - [held = vcpus] (0:0:1 - 1)
		IfNotBlocked
		reached[4][12] = 1;
		(trpt+1)->bup.oval = ((int)now.held);
		now.held = ((int)now.vcpus);
#ifdef VAR_RANGES
		logval("held", ((int)now.held));
#endif
		;
		_m = 3; goto P999; /* 0 */
	case 16: // STATE 13 - pivot.pml:102 - [word = decided] (0:0:1 - 1)
		IfNotBlocked
		reached[4][13] = 1;
		(trpt+1)->bup.oval = now.word;
		now.word = 10;
#ifdef VAR_RANGES
		logval("word", now.word);
#endif
		;
		_m = 3; goto P999; /* 0 */
	case 17: // STATE 15 - pivot.pml:103 - [((((alive&&empty(qmp))&&(word==decided))&&(job==pending)))] (0:0:0 - 1)
		IfNotBlocked
		reached[4][15] = 1;
		if (!((((((int)now.alive)&&(q_len(now.qmp)==0))&&(now.word==10))&&(now.job==2))))
			continue;
		_m = 3; goto P999; /* 0 */
	case 18: // STATE 16 - pivot.pml:105 - [(held)] (0:0:0 - 1)
		IfNotBlocked
		reached[4][16] = 1;
		if (!(((int)now.held)))
			continue;
		_m = 3; goto P999; /* 0 */
	case 19: // STATE 17 - pivot.pml:105 - [qmp!stop] (0:0:0 - 1)
		IfNotBlocked
		reached[4][17] = 1;
		if (q_full(now.qmp))
			continue;
#ifdef HAS_CODE
		if (readtrail && gui) {
			char simtmp[64];
			sprintf(simvals, "%d!", now.qmp);
		sprintf(simtmp, "%d", 15); strcat(simvals, simtmp);		}
#endif
		
		qsend(now.qmp, 0, 15, 1);
		_m = 2; goto P999; /* 0 */
	case 20: // STATE 21 - pivot.pml:108 - [qmp!finalize] (0:0:0 - 3)
		IfNotBlocked
		reached[4][21] = 1;
		if (q_full(now.qmp))
			continue;
#ifdef HAS_CODE
		if (readtrail && gui) {
			char simtmp[64];
			sprintf(simvals, "%d!", now.qmp);
		sprintf(simtmp, "%d", 14); strcat(simvals, simtmp);		}
#endif
		
		qsend(now.qmp, 0, 14, 1);
		_m = 2; goto P999; /* 0 */
	case 21: // STATE 22 - pivot.pml:109 - [(((((alive&&empty(qmp))&&(word==decided))&&(job!=pending))&&(root==source)))] (0:0:0 - 1)
		IfNotBlocked
		reached[4][22] = 1;
		if (!(((((((int)now.alive)&&(q_len(now.qmp)==0))&&(now.word==10))&&(now.job!=2))&&(now.root==7))))
			continue;
		_m = 3; goto P999; /* 0 */
	case 22: // STATE 23 - pivot.pml:110 - [word = reversed] (0:0:1 - 1)
		IfNotBlocked
		reached[4][23] = 1;
		(trpt+1)->bup.oval = now.word;
		now.word = 9;
#ifdef VAR_RANGES
		logval("word", now.word);
#endif
		;
		_m = 3; goto P999; /* 0 */
	case 23: // STATE 25 - pivot.pml:112 - [(((((alive&&empty(qmp))&&(job!=pending))&&((word==reversed)||(root==target)))&&((word==reversed)||(word==decided))))] (0:0:0 - 1)
		IfNotBlocked
		reached[4][25] = 1;
		if (!(((((((int)now.alive)&&(q_len(now.qmp)==0))&&(now.job!=2))&&((now.word==9)||(now.root==6)))&&((now.word==9)||(now.word==10)))))
			continue;
		_m = 3; goto P999; /* 0 */
	case 24: // STATE 26 - pivot.pml:114 - [(((held&&!(vcpus))&&!(user_paused)))] (0:0:0 - 1)
		IfNotBlocked
		reached[4][26] = 1;
		if (!(((((int)now.held)&& !(((int)now.vcpus)))&& !(((int)now.user_paused)))))
			continue;
		_m = 3; goto P999; /* 0 */
	case 25: // STATE 27 - pivot.pml:114 - [qmp!cont] (0:0:0 - 1)
		IfNotBlocked
		reached[4][27] = 1;
		if (q_full(now.qmp))
			continue;
#ifdef HAS_CODE
		if (readtrail && gui) {
			char simtmp[64];
			sprintf(simvals, "%d!", now.qmp);
		sprintf(simtmp, "%d", 13); strcat(simvals, simtmp);		}
#endif
		
		qsend(now.qmp, 0, 13, 1);
		_m = 2; goto P999; /* 0 */
	case 26: // STATE 31 - pivot.pml:117 - [qmp!dismiss] (0:0:0 - 3)
		IfNotBlocked
		reached[4][31] = 1;
		if (q_full(now.qmp))
			continue;
#ifdef HAS_CODE
		if (readtrail && gui) {
			char simtmp[64];
			sprintf(simvals, "%d!", now.qmp);
		sprintf(simtmp, "%d", 12); strcat(simvals, simtmp);		}
#endif
		
		qsend(now.qmp, 0, 12, 1);
		_m = 2; goto P999; /* 0 */
	case 27: // STATE 32 - pivot.pml:118 - [((empty(qmp)||!(alive)))] (0:0:0 - 1)
		IfNotBlocked
		reached[4][32] = 1;
		if (!(((q_len(now.qmp)==0)|| !(((int)now.alive)))))
			continue;
		_m = 3; goto P999; /* 0 */
	case 28: // STATE 33 - pivot.pml:119 - [(((((word!=ended)&&alive)&&(vcpus||user_paused))&&(job==nothing)))] (0:0:0 - 1)
		IfNotBlocked
		reached[4][33] = 1;
		if (!(((((now.word!=8)&&((int)now.alive))&&(((int)now.vcpus)||((int)now.user_paused)))&&(now.job==5))))
			continue;
		_m = 3; goto P999; /* 0 */
	case 29: // STATE 34 - pivot.pml:120 - [disk = ( ((word==decided)) -> (target) : (source) )] (0:0:1 - 1)
		IfNotBlocked
		reached[4][34] = 1;
		(trpt+1)->bup.oval = now.disk;
		now.disk = ( ((now.word==10)) ? (6) : (7) );
#ifdef VAR_RANGES
		logval("disk", now.disk);
#endif
		;
		_m = 3; goto P999; /* 0 */
	case 30: // STATE 35 - pivot.pml:120 - [word = ended] (0:0:1 - 1)
		IfNotBlocked
		reached[4][35] = 1;
		(trpt+1)->bup.oval = now.word;
		now.word = 8;
#ifdef VAR_RANGES
		logval("word", now.word);
#endif
		;
		_m = 3; goto P999; /* 0 */
	case 31: // STATE 46 - pivot.pml:132 - [((nempty(qmp)&&alive))] (0:0:0 - 1)
		IfNotBlocked
		reached[4][46] = 1;
		if (!(((q_len(now.qmp)>0)&&((int)now.alive))))
			continue;
		_m = 3; goto P999; /* 0 */
	case 32: // STATE 47 - pivot.pml:132 - [qmp?lost] (0:0:2 - 1)
		reached[4][47] = 1;
		if (q_len(now.qmp) == 0) continue;

		XX=1;
		(trpt+1)->bup.ovals = grab_ints(2);
		(trpt+1)->bup.ovals[0] = ((P4 *)_this)->lost;
		;
		((P4 *)_this)->lost = qrecv(now.qmp, XX-1, 0, 1);
#ifdef VAR_RANGES
		logval("daemon:lost", ((P4 *)_this)->lost);
#endif
		;
		
#ifdef HAS_CODE
		if (readtrail && gui) {
			char simtmp[32];
			sprintf(simvals, "%d?", now.qmp);
		sprintf(simtmp, "%d", ((P4 *)_this)->lost); strcat(simvals, simtmp);		}
#endif
		;
		if (TstOnly) return 1; /* TT */
		/* dead 2: lost */  (trpt+1)->bup.ovals[1] = ((P4 *)_this)->lost;
#ifdef HAS_CODE
		if (!readtrail)
#endif
			((P4 *)_this)->lost = 0;
		_m = 4; goto P999; /* 0 */
	case 33: // STATE 48 - pivot.pml:133 - [((empty(qmp)||!(alive)))] (0:0:0 - 1)
		IfNotBlocked
		reached[4][48] = 1;
		if (!(((q_len(now.qmp)==0)|| !(((int)now.alive)))))
			continue;
		_m = 3; goto P999; /* 0 */
	case 34: // STATE 53 - pivot.pml:135 - [up = 1] (0:0:1 - 3)
		IfNotBlocked
		reached[4][53] = 1;
		(trpt+1)->bup.oval = ((int)now.up);
		now.up = 1;
#ifdef VAR_RANGES
		logval("up", ((int)now.up));
#endif
		;
		_m = 3; goto P999; /* 0 */
	case 35: // STATE 56 - pivot.pml:139 - [-end-] (0:0:0 - 1)
		IfNotBlocked
		reached[4][56] = 1;
		if (!delproc(1, II)) continue;
		_m = 3; goto P999; /* 0 */

		 /* PROC killer */
	case 36: // STATE 1 - pivot.pml:84 - [((((kills<3)&&up)&&(word!=ended)))] (11:0:2 - 1)
		IfNotBlocked
		reached[3][1] = 1;
		if (!((((((int)now.kills)<3)&&((int)now.up))&&(now.word!=8))))
			continue;
		/* merge: kills = (kills+1)(11, 2, 11) */
		reached[3][2] = 1;
		(trpt+1)->bup.ovals = grab_ints(2);
		(trpt+1)->bup.ovals[0] = ((int)now.kills);
		now.kills = (((int)now.kills)+1);
#ifdef VAR_RANGES
		logval("kills", ((int)now.kills));
#endif
		;
		/* merge: up = 0(11, 3, 11) */
		reached[3][3] = 1;
		(trpt+1)->bup.ovals[1] = ((int)now.up);
		now.up = 0;
#ifdef VAR_RANGES
		logval("up", ((int)now.up));
#endif
		;
		/* merge: .(goto)(0, 12, 11) */
		reached[3][12] = 1;
		;
		_m = 3; goto P999; /* 3 */
	case 37: // STATE 5 - pivot.pml:85 - [((alive&&(word!=ended)))] (14:0:1 - 1)
		IfNotBlocked
		reached[3][5] = 1;
		if (!((((int)now.alive)&&(now.word!=8))))
			continue;
		/* merge: alive = 0(14, 6, 14) */
		reached[3][6] = 1;
		(trpt+1)->bup.oval = ((int)now.alive);
		now.alive = 0;
#ifdef VAR_RANGES
		logval("alive", ((int)now.alive));
#endif
		;
		/* merge: goto :b2(14, 7, 14) */
		reached[3][7] = 1;
		;
		_m = 3; goto P999; /* 2 */
	case 38: // STATE 9 - pivot.pml:86 - [((word==ended))] (0:0:0 - 1)
		IfNotBlocked
		reached[3][9] = 1;
		if (!((now.word==8)))
			continue;
		_m = 3; goto P999; /* 0 */
	case 39: // STATE 14 - pivot.pml:88 - [-end-] (0:0:0 - 4)
		IfNotBlocked
		reached[3][14] = 1;
		if (!delproc(1, II)) continue;
		_m = 3; goto P999; /* 0 */

		 /* PROC qemu */
	case 40: // STATE 1 - pivot.pml:62 - [(!(alive))] (0:0:0 - 1)
		IfNotBlocked
		reached[2][1] = 1;
		if (!( !(((int)now.alive))))
			continue;
		_m = 3; goto P999; /* 0 */
	case 41: // STATE 3 - pivot.pml:63 - [((alive&&(job==running)))] (36:0:2 - 1)
		IfNotBlocked
		reached[2][3] = 1;
		if (!((((int)now.alive)&&(now.job==4))))
			continue;
		/* merge: job = ready(36, 4, 36) */
		reached[2][4] = 1;
		(trpt+1)->bup.ovals = grab_ints(2);
		(trpt+1)->bup.ovals[0] = now.job;
		now.job = 3;
#ifdef VAR_RANGES
		logval("job", now.job);
#endif
		;
		/* merge: target_whole = 1(36, 5, 36) */
		reached[2][5] = 1;
		(trpt+1)->bup.ovals[1] = ((int)now.target_whole);
		now.target_whole = 1;
#ifdef VAR_RANGES
		logval("target_whole", ((int)now.target_whole));
#endif
		;
		/* merge: .(goto)(0, 37, 36) */
		reached[2][37] = 1;
		;
		_m = 3; goto P999; /* 3 */
	case 42: // STATE 7 - pivot.pml:64 - [(((alive&&(job==ready))&&!(target_whole)))] (36:0:1 - 1)
		IfNotBlocked
		reached[2][7] = 1;
		if (!(((((int)now.alive)&&(now.job==3))&& !(((int)now.target_whole)))))
			continue;
		/* merge: target_whole = 1(0, 8, 36) */
		reached[2][8] = 1;
		(trpt+1)->bup.oval = ((int)now.target_whole);
		now.target_whole = 1;
#ifdef VAR_RANGES
		logval("target_whole", ((int)now.target_whole));
#endif
		;
		/* merge: .(goto)(0, 37, 36) */
		reached[2][37] = 1;
		;
		_m = 3; goto P999; /* 2 */
	case 43: // STATE 10 - pivot.pml:65 - [((((alive&&(job==ready))&&completing)&&target_whole))] (36:0:1 - 1)
		IfNotBlocked
		reached[2][10] = 1;
		if (!((((((int)now.alive)&&(now.job==3))&&((int)now.completing))&&((int)now.target_whole))))
			continue;
		/* merge: job = pending(0, 11, 36) */
		reached[2][11] = 1;
		(trpt+1)->bup.oval = now.job;
		now.job = 2;
#ifdef VAR_RANGES
		logval("job", now.job);
#endif
		;
		/* merge: .(goto)(0, 37, 36) */
		reached[2][37] = 1;
		;
		_m = 3; goto P999; /* 2 */
	case 44: // STATE 13 - pivot.pml:66 - [((alive&&nempty(qmp)))] (0:0:0 - 1)
		IfNotBlocked
		reached[2][13] = 1;
		if (!((((int)now.alive)&&(q_len(now.qmp)>0))))
			continue;
		_m = 3; goto P999; /* 0 */
	case 45: // STATE 14 - pivot.pml:66 - [qmp?command] (0:0:1 - 1)
		reached[2][14] = 1;
		if (q_len(now.qmp) == 0) continue;

		XX=1;
		(trpt+1)->bup.oval = ((P2 *)_this)->command;
		;
		((P2 *)_this)->command = qrecv(now.qmp, XX-1, 0, 1);
#ifdef VAR_RANGES
		logval("qemu:command", ((P2 *)_this)->command);
#endif
		;
		
#ifdef HAS_CODE
		if (readtrail && gui) {
			char simtmp[32];
			sprintf(simvals, "%d?", now.qmp);
		sprintf(simtmp, "%d", ((P2 *)_this)->command); strcat(simvals, simtmp);		}
#endif
		;
		_m = 4; goto P999; /* 0 */
	case 46: // STATE 15 - pivot.pml:68 - [(((command==start)&&(job==nothing)))] (36:0:2 - 1)
		IfNotBlocked
		reached[2][15] = 1;
		if (!(((((P2 *)_this)->command==17)&&(now.job==5))))
			continue;
		if (TstOnly) return 1; /* TT */
		/* dead 1: command */  (trpt+1)->bup.ovals = grab_ints(2);
		(trpt+1)->bup.ovals[0] = ((P2 *)_this)->command;
#ifdef HAS_CODE
		if (!readtrail)
#endif
			((P2 *)_this)->command = 0;
		/* merge: job = running(36, 16, 36) */
		reached[2][16] = 1;
		(trpt+1)->bup.ovals[1] = now.job;
		now.job = 4;
#ifdef VAR_RANGES
		logval("job", now.job);
#endif
		;
		/* merge: .(goto)(36, 32, 36) */
		reached[2][32] = 1;
		;
		/* merge: .(goto)(0, 37, 36) */
		reached[2][37] = 1;
		;
		_m = 3; goto P999; /* 3 */
	case 47: // STATE 32 - pivot.pml:76 - [.(goto)] (0:36:0 - 8)
		IfNotBlocked
		reached[2][32] = 1;
		;
		/* merge: .(goto)(0, 37, 36) */
		reached[2][37] = 1;
		;
		_m = 3; goto P999; /* 1 */
	case 48: // STATE 17 - pivot.pml:69 - [(((command==complete)&&(job==ready)))] (36:0:2 - 1)
		IfNotBlocked
		reached[2][17] = 1;
		if (!(((((P2 *)_this)->command==16)&&(now.job==3))))
			continue;
		if (TstOnly) return 1; /* TT */
		/* dead 1: command */  (trpt+1)->bup.ovals = grab_ints(2);
		(trpt+1)->bup.ovals[0] = ((P2 *)_this)->command;
#ifdef HAS_CODE
		if (!readtrail)
#endif
			((P2 *)_this)->command = 0;
		/* merge: completing = 1(36, 18, 36) */
		reached[2][18] = 1;
		(trpt+1)->bup.ovals[1] = ((int)now.completing);
		now.completing = 1;
#ifdef VAR_RANGES
		logval("completing", ((int)now.completing));
#endif
		;
		/* merge: .(goto)(36, 32, 36) */
		reached[2][32] = 1;
		;
		/* merge: .(goto)(0, 37, 36) */
		reached[2][37] = 1;
		;
		_m = 3; goto P999; /* 3 */
	case 49: // STATE 19 - pivot.pml:70 - [((command==stop))] (36:0:2 - 1)
		IfNotBlocked
		reached[2][19] = 1;
		if (!((((P2 *)_this)->command==15)))
			continue;
		if (TstOnly) return 1; /* TT */
		/* dead 1: command */  (trpt+1)->bup.ovals = grab_ints(2);
		(trpt+1)->bup.ovals[0] = ((P2 *)_this)->command;
#ifdef HAS_CODE
		if (!readtrail)
#endif
			((P2 *)_this)->command = 0;
		/* merge: vcpus = 0(36, 20, 36) */
		reached[2][20] = 1;
		(trpt+1)->bup.ovals[1] = ((int)now.vcpus);
		now.vcpus = 0;
#ifdef VAR_RANGES
		logval("vcpus", ((int)now.vcpus));
#endif
		;
		/* merge: .(goto)(36, 32, 36) */
		reached[2][32] = 1;
		;
		/* merge: .(goto)(0, 37, 36) */
		reached[2][37] = 1;
		;
		_m = 3; goto P999; /* 3 */
	case 50: // STATE 21 - pivot.pml:71 - [(((command==finalize)&&(job==pending)))] (36:0:3 - 1)
		IfNotBlocked
		reached[2][21] = 1;
		if (!(((((P2 *)_this)->command==14)&&(now.job==2))))
			continue;
		if (TstOnly) return 1; /* TT */
		/* dead 1: command */  (trpt+1)->bup.ovals = grab_ints(3);
		(trpt+1)->bup.ovals[0] = ((P2 *)_this)->command;
#ifdef HAS_CODE
		if (!readtrail)
#endif
			((P2 *)_this)->command = 0;
		/* merge: job = concluded(36, 22, 36) */
		reached[2][22] = 1;
		(trpt+1)->bup.ovals[1] = now.job;
		now.job = 1;
#ifdef VAR_RANGES
		logval("job", now.job);
#endif
		;
		/* merge: root = target(36, 23, 36) */
		reached[2][23] = 1;
		(trpt+1)->bup.ovals[2] = now.root;
		now.root = 6;
#ifdef VAR_RANGES
		logval("root", now.root);
#endif
		;
		/* merge: .(goto)(36, 32, 36) */
		reached[2][32] = 1;
		;
		/* merge: .(goto)(0, 37, 36) */
		reached[2][37] = 1;
		;
		_m = 3; goto P999; /* 4 */
	case 51: // STATE 24 - pivot.pml:72 - [(((command==finalize)&&(job==pending)))] (36:0:2 - 1)
		IfNotBlocked
		reached[2][24] = 1;
		if (!(((((P2 *)_this)->command==14)&&(now.job==2))))
			continue;
		if (TstOnly) return 1; /* TT */
		/* dead 1: command */  (trpt+1)->bup.ovals = grab_ints(2);
		(trpt+1)->bup.ovals[0] = ((P2 *)_this)->command;
#ifdef HAS_CODE
		if (!readtrail)
#endif
			((P2 *)_this)->command = 0;
		/* merge: job = concluded(36, 25, 36) */
		reached[2][25] = 1;
		(trpt+1)->bup.ovals[1] = now.job;
		now.job = 1;
#ifdef VAR_RANGES
		logval("job", now.job);
#endif
		;
		/* merge: .(goto)(36, 32, 36) */
		reached[2][32] = 1;
		;
		/* merge: .(goto)(0, 37, 36) */
		reached[2][37] = 1;
		;
		_m = 3; goto P999; /* 3 */
	case 52: // STATE 26 - pivot.pml:73 - [((command==cont))] (36:0:2 - 1)
		IfNotBlocked
		reached[2][26] = 1;
		if (!((((P2 *)_this)->command==13)))
			continue;
		if (TstOnly) return 1; /* TT */
		/* dead 1: command */  (trpt+1)->bup.ovals = grab_ints(2);
		(trpt+1)->bup.ovals[0] = ((P2 *)_this)->command;
#ifdef HAS_CODE
		if (!readtrail)
#endif
			((P2 *)_this)->command = 0;
		/* merge: vcpus = 1(36, 27, 36) */
		reached[2][27] = 1;
		(trpt+1)->bup.ovals[1] = ((int)now.vcpus);
		now.vcpus = 1;
#ifdef VAR_RANGES
		logval("vcpus", ((int)now.vcpus));
#endif
		;
		/* merge: .(goto)(36, 32, 36) */
		reached[2][32] = 1;
		;
		/* merge: .(goto)(0, 37, 36) */
		reached[2][37] = 1;
		;
		_m = 3; goto P999; /* 3 */
	case 53: // STATE 28 - pivot.pml:74 - [(((command==dismiss)&&(job==concluded)))] (36:0:2 - 1)
		IfNotBlocked
		reached[2][28] = 1;
		if (!(((((P2 *)_this)->command==12)&&(now.job==1))))
			continue;
		if (TstOnly) return 1; /* TT */
		/* dead 1: command */  (trpt+1)->bup.ovals = grab_ints(2);
		(trpt+1)->bup.ovals[0] = ((P2 *)_this)->command;
#ifdef HAS_CODE
		if (!readtrail)
#endif
			((P2 *)_this)->command = 0;
		/* merge: job = nothing(36, 29, 36) */
		reached[2][29] = 1;
		(trpt+1)->bup.ovals[1] = now.job;
		now.job = 5;
#ifdef VAR_RANGES
		logval("job", now.job);
#endif
		;
		/* merge: .(goto)(36, 32, 36) */
		reached[2][32] = 1;
		;
		/* merge: .(goto)(0, 37, 36) */
		reached[2][37] = 1;
		;
		_m = 3; goto P999; /* 3 */
	case 54: // STATE 34 - pivot.pml:77 - [(((word==ended)&&empty(qmp)))] (0:0:0 - 1)
		IfNotBlocked
		reached[2][34] = 1;
		if (!(((now.word==8)&&(q_len(now.qmp)==0))))
			continue;
		_m = 3; goto P999; /* 0 */
	case 55: // STATE 39 - pivot.pml:79 - [-end-] (0:0:0 - 5)
		IfNotBlocked
		reached[2][39] = 1;
		if (!delproc(1, II)) continue;
		_m = 3; goto P999; /* 0 */

		 /* PROC administrator */
	case 56: // STATE 1 - pivot.pml:52 - [((alive&&vcpus))] (8:0:2 - 1)
		IfNotBlocked
		reached[1][1] = 1;
		if (!((((int)now.alive)&&((int)now.vcpus))))
			continue;
		/* merge: vcpus = 0(8, 2, 8) */
		reached[1][2] = 1;
		(trpt+1)->bup.ovals = grab_ints(2);
		(trpt+1)->bup.ovals[0] = ((int)now.vcpus);
		now.vcpus = 0;
#ifdef VAR_RANGES
		logval("vcpus", ((int)now.vcpus));
#endif
		;
		/* merge: user_paused = 1(8, 3, 8) */
		reached[1][3] = 1;
		(trpt+1)->bup.ovals[1] = ((int)now.user_paused);
		now.user_paused = 1;
#ifdef VAR_RANGES
		logval("user_paused", ((int)now.user_paused));
#endif
		;
		/* merge: .(goto)(0, 7, 8) */
		reached[1][7] = 1;
		;
		_m = 3; goto P999; /* 3 */
	case 57: // STATE 5 - pivot.pml:53 - [((word==ended))] (0:0:0 - 1)
		IfNotBlocked
		reached[1][5] = 1;
		if (!((now.word==8)))
			continue;
		_m = 3; goto P999; /* 0 */
	case 58: // STATE 8 - pivot.pml:55 - [-end-] (0:0:0 - 3)
		IfNotBlocked
		reached[1][8] = 1;
		if (!delproc(1, II)) continue;
		_m = 3; goto P999; /* 0 */

		 /* PROC guest */
	case 59: // STATE 1 - pivot.pml:38 - [(((alive&&vcpus)&&(job!=pending)))] (0:0:0 - 1)
		IfNotBlocked
		reached[0][1] = 1;
		if (!(((((int)now.alive)&&((int)now.vcpus))&&(now.job!=2))))
			continue;
		_m = 3; goto P999; /* 0 */
	case 60: // STATE 2 - pivot.pml:40 - [((root==source))] (13:0:1 - 1)
		IfNotBlocked
		reached[0][2] = 1;
		if (!((now.root==7)))
			continue;
		/* merge: target_whole = 0(13, 3, 13) */
		reached[0][3] = 1;
		(trpt+1)->bup.oval = ((int)now.target_whole);
		now.target_whole = 0;
#ifdef VAR_RANGES
		logval("target_whole", ((int)now.target_whole));
#endif
		;
		/* merge: .(goto)(13, 7, 13) */
		reached[0][7] = 1;
		;
		/* merge: .(goto)(0, 14, 13) */
		reached[0][14] = 1;
		;
		_m = 3; goto P999; /* 3 */
	case 61: // STATE 7 - pivot.pml:42 - [.(goto)] (0:13:0 - 2)
		IfNotBlocked
		reached[0][7] = 1;
		;
		/* merge: .(goto)(0, 14, 13) */
		reached[0][14] = 1;
		;
		_m = 3; goto P999; /* 1 */
	case 62: // STATE 4 - pivot.pml:41 - [((root==target))] (13:0:1 - 1)
		IfNotBlocked
		reached[0][4] = 1;
		if (!((now.root==6)))
			continue;
		/* merge: source_whole = 0(13, 5, 13) */
		reached[0][5] = 1;
		(trpt+1)->bup.oval = ((int)source_whole);
		source_whole = 0;
#ifdef VAR_RANGES
		logval("source_whole", ((int)source_whole));
#endif
		;
		/* merge: .(goto)(13, 7, 13) */
		reached[0][7] = 1;
		;
		/* merge: .(goto)(0, 14, 13) */
		reached[0][14] = 1;
		;
		_m = 3; goto P999; /* 3 */
	case 63: // STATE 9 - pivot.pml:43 - [((word==ended))] (0:0:0 - 1)
		IfNotBlocked
		reached[0][9] = 1;
		if (!((now.word==8)))
			continue;
		_m = 3; goto P999; /* 0 */
	case 64: // STATE 11 - pivot.pml:44 - [(!(alive))] (0:0:0 - 1)
		IfNotBlocked
		reached[0][11] = 1;
		if (!( !(((int)now.alive))))
			continue;
		_m = 3; goto P999; /* 0 */
	case 65: // STATE 16 - pivot.pml:46 - [-end-] (0:0:0 - 5)
		IfNotBlocked
		reached[0][16] = 1;
		if (!delproc(1, II)) continue;
		_m = 3; goto P999; /* 0 */
	case  _T5:	/* np_ */
		if (!((!(trpt->o_pm&4) && !(trpt->tau&128))))
			continue;
		/* else fall through */
	case  _T2:	/* true */
		_m = 3; goto P999;
#undef rand
	}

